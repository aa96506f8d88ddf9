/* Block Kit and mrkdwn as Slack shows them. */

const SLACK_INLINE = new RegExp(
  [
    "`(?<code>[^`\\n]+)`",
    "<(?<target>[^<>|]+)(?:\\|(?<label>[^<>]*))?>",
    "(?<![\\w*])\\*(?=\\S)(?<bold>[^*\\n]+)(?<=\\S)\\*(?![\\w*])",
    "(?<![\\w_])_(?=\\S)(?<italic>[^_\\n]+)(?<=\\S)_(?![\\w_])",
    "(?<![\\w~])~(?=\\S)(?<gone>[^~\\n]+)(?<=\\S)~(?![\\w~])",
  ].join("|"),
  "g",
);

const unescapeSlack = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

function slackInline(text) {
  return pieces(
    text,
    SLACK_INLINE,
    ({ groups }) => {
      if (groups.code) return el("code", "", unescapeSlack(groups.code));
      if (groups.bold) return el("b", "", slackInline(groups.bold));
      if (groups.italic) return el("i", "", slackInline(groups.italic));
      if (groups.gone) return el("s", "", slackInline(groups.gone));
      /* A live mention: what a title must never become. */
      if (/^[!@]/.test(groups.target)) return el("mark", "", "@" + groups.target.slice(1));
      const target = unescapeSlack(groups.target);
      return link(target, unescapeSlack(groups.label || groups.target));
    },
    unescapeSlack,
  );
}

function slackQuotes(text) {
  return pieces(text, /(?:^|\n)((?:> ?.*(?:\n|$))+)/g, (match) =>
    el("blockquote", "", slackInline(match[1].replace(/^> ?/gm, "").trimEnd())), slackInline);
}

function mrkdwn(text) {
  return pieces(text, /```\n?([\s\S]*?)\n?```/g, (match) => el("pre", "", unescapeSlack(match[1])), slackQuotes);
}

function slackText(item, name) {
  if (!item) return null;
  return el("div", name, item.type === "plain_text" ? item.text : mrkdwn(item.text));
}

function slackElement(element) {
  switch (element.type) {
    case "button": {
      const button = link(element.url ?? "", element.text.text);
      button.className = "button";
      return button;
    }
    case "plain_text":
    case "mrkdwn":
      return slackText(element);
    default:
      return null;
  }
}

function slackBlock(block) {
  switch (block.type) {
    case "header":
      return slackText(block.text, "header");
    case "section":
      return el("div", "section",
        slackText(block.text, "grow"),
        block.fields && el("div", "fields", block.fields.map((field) => slackText(field))),
        block.accessory && slackElement(block.accessory));
    case "actions":
      return el("div", "actions", block.elements.map(slackElement));
    case "context":
      return el("div", "context", block.elements.map(slackElement));
    case "divider":
      return el("hr");
    default:
      return null;
  }
}

function slackMessage({ at: moment, payload }) {
  const blocks = payload.blocks?.length ? payload.blocks.map(slackBlock) : [el("div", "section", mrkdwn(payload.text ?? ""))];
  const head = el("div", "who", el("b", "", "knell"), el("span", "tag", "APP"), el("time", "", clock(moment)));
  return el("li", "post", avatar(), el("div", "body", head, blocks));
}
