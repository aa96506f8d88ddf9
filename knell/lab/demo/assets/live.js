/* The stream: what happens, as it happens. */

const SHOW = {
  slack: (message) => append(at("slack"), slackMessage(message)),
  discord: (message) => append(at("discord"), discordMessage(message)),
  email: mailMessage,
  webhook: webhookMessage,
  sms: smsMessage,
};

const NODES = new Map();

function actorState(actor, channel) {
  if (!actor.up) return "bad";
  return channel && channel.breaker !== "closed" ? "wait" : "good";
}

/* Nodes stay and only their content changes, so that a restart can be seen for longer than it takes. */
function actorNode(path, actor, channel) {
  const known = NODES.get(path);
  const node = known?.node ?? el("div");
  const restarted = known && actor.restarts > known.restarts;
  const state = actorState(actor, channel);
  const rows = [[word("mailbox"), actor.mailbox, actor.mailbox > 0], [word("restarts"), actor.restarts, actor.restarts > 0]];
  if (channel) {
    rows.unshift([word("breaker"), word(channel.breaker), channel.breaker !== "closed"]);
    rows.push([word("waiting"), channel.pending, channel.pending > 0]);
  }
  const shown = channel ? rows : rows.filter(([, value], index) => index === 0 || value);
  node.className = `node ${state}` + (node.classList.contains("revived") ? " revived" : "");
  node.replaceChildren(
    el("b", "", el("i", "dot " + state), path.split("/").pop(), actor.up ? "" : ` (${word("down")})`),
    el("dl", "", shown.map(([label, value, strong]) =>
      el("div", strong ? "strong" : "", el("dt", "", label), el("dd", "", String(value))))),
  );
  if (restarted) {
    node.classList.add("revived");
    setTimeout(() => node.classList.remove("revived"), 2500);
  }
  NODES.set(path, { node, restarts: actor.restarts });
  return node;
}

function showFigures({ actors, channels, events }) {
  const nodes = (paths) => paths.filter((path) => actors[path])
    .map((path) => actorNode(path, actors[path], channels[path.split("/")[1]]));
  const pipeline = nodes(["router", "channels", "outbox"]);
  const leaves = nodes(Object.keys(actors).filter((path) => path.startsWith("channels/")));
  const tree = at("tree");
  if (tree.querySelectorAll(".node").length !== pipeline.length + leaves.length) {
    tree.replaceChildren(el("div", "root", el("b", "", "root")), el("div", "pipeline", pipeline), el("div", "leaves", leaves));
  }
  const sum = (from, name) => Object.values(from).reduce((total, item) => total + item[name], 0);
  at("totals").textContent = [
    [events, "told"], [sum(channels, "delivered"), "delivered"], [sum(channels, "retries"), "retries"],
    [sum(actors, "restarts"), "restarts"], [sum(channels, "pending"), "waiting"],
  ].map(([number, label]) => `${word(label)} ${number}`).join(" · ");
}

function showChapter({ number, title, text, free }) {
  for (const button of document.querySelectorAll("[data-act]")) button.disabled = !free;
  at("number").textContent = number;
  at("title").textContent = title;
  at("text").textContent = text;
}

function showLine({ at: seconds, tone, event, channel, text }) {
  append(at("log"), el("div", tone,
    el("time", "", seconds.toFixed(2)), el("b", "", channel), el("span", "", event), el("em", "", text)));
}

function begin() {
  live = false;
  at("ended").hidden = true;
  at("letter").hidden = true;
  opened = null;
  NODES.clear();
  at("tree").replaceChildren();
  for (const id of ["slack", "email", "discord", "webhook", "sms", "log"]) at(id).replaceChildren();
}

const stream = new EventSource("/events");
const on = (kind, show) => stream.addEventListener(kind, (item) => show(JSON.parse(item.data)));
on("hello", begin);
on("live", () => { live = true; });
on("figures", showFigures);
on("chapter", showChapter);
on("line", showLine);
on("message", (message) => SHOW[message.channel]?.(message));
stream.addEventListener("error", () => { at("ended").hidden = false; });

for (const button of document.querySelectorAll("[data-act]")) {
  button.addEventListener("click", () =>
    fetch("/act/" + button.dataset.act, { method: "POST", headers: { "X-Knell-Demo": "1" } }).catch(() => {}));
}
document.addEventListener("keydown", (press) => {
  if (press.ctrlKey || press.metaKey || press.altKey || press.repeat) return;
  const button = [...document.querySelectorAll("[data-act]")].find((one) => one.querySelector("kbd").textContent === press.key);
  button?.click();
});
