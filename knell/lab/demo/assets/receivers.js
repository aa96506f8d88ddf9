/* Mail, webhook and phone. */

/* Mail: a list of subjects, and the opened one. The frame's sandbox runs no script and knows no origin. */

let opened = null;

function openMail(row, mail) {
  const letter = at("letter");
  opened?.classList.remove("opened");
  opened = row;
  row.classList.add("opened");
  row.classList.remove("unread");
  letter.hidden = false;
  letter.querySelector("h3").textContent = mail.subject;
  letter.querySelector("p").textContent = `${mail.from} → ${mail.to}`;
  /* A frame of its own for each mail: one that changes fast may end with an earlier mail. */
  const frame = el("iframe");
  frame.setAttribute("sandbox", "");
  frame.title = mail.subject;
  frame.srcdoc = mail.html;
  letter.querySelector(".sheet").replaceChildren(frame);
}

function mailMessage(mail) {
  const inbox = at("email");
  const button = el("button", "", el("b", "", mail.subject), el("span", "", mail.from), el("time", "", clock(mail.at)));
  const row = el("li", "unread", button);
  button.type = "button";
  button.addEventListener("click", () => openMail(row, mail));
  /* Whoever reads an older mail is not torn away from it. */
  const follows = !opened || opened === inbox.firstElementChild;
  prepend(inbox, row);
  if (follows) openMail(row, mail);
}

/* Webhook: what came over the wire, and whether its signature is right. */

function json(value, indent = "") {
  const inner = indent + "  ";
  if (Array.isArray(value) || (value && typeof value === "object")) {
    const list = Array.isArray(value);
    const entries = Object.entries(value);
    if (!entries.length) return [list ? "[]" : "{}"];
    return [
      list ? "[" : "{",
      entries.map(([key, item], index) => [
        "\n" + inner, list ? null : [el("span", "key", JSON.stringify(key)), ": "], json(item, inner),
        index < entries.length - 1 ? "," : null]),
      "\n" + indent + (list ? "]" : "}"),
    ];
  }
  return [el("span", typeof value === "string" ? "string" : "literal", JSON.stringify(value))];
}

function webhookMessage({ at: moment, payload, headers, verdict }) {
  const good = verdict === "ok";
  const mark = el("span", good ? "badge good" : "badge bad", good ? "✓" : "✗");
  mark.title = word(good ? "verified" : "refused");
  const summary = el("summary", "", mark, el("b", "", payload.type), el("time", "", clock(moment, true)));
  const names = Object.entries(headers).map(([name, value]) => el("div", "", el("span", "key", name), ": ", value));
  const badge = el("p", good ? "badge good" : "badge bad", good ? `✓ ${word("verified")}` : `✗ ${verdict}`);
  const details = el("details", "", summary, el("div", "headers", names, badge), el("pre", "", json(payload)));
  const feed = at("webhook");
  feed.querySelector("details[open]")?.removeAttribute("open");
  details.open = true;
  prepend(feed, el("li", "", details));
}

/* Phone. */

function smsMessage({ at: moment, text, segments }) {
  const note = `${clock(moment)} · ${segments} × SMS`;
  append(at("sms"), el("li", "", el("p", "bubble", text), el("small", "", note)));
}
