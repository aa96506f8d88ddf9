/* Embeds and Markdown as Discord shows them. */

const DISCORD_INLINE = new RegExp(
  [
    "\\\\(?<escaped>[!-/:-@\\[-`{-~])",
    "```(?:\\w*\\n)?(?<block>[\\s\\S]*?)\\n?```\\n?",
    "`(?<code>[^`]+)`",
    "\\[(?<label>(?:\\\\.|[^\\]\\\\])*)\\]\\((?<target>https?:[^\\s)]+)\\)",
    "\\*\\*(?<bold>(?:\\\\.|[^*\\\\])+)\\*\\*",
    "__(?<under>(?:\\\\.|[^_\\\\])+)__",
    "~~(?<gone>(?:\\\\.|[^~\\\\])+)~~",
    "\\*(?=\\S)(?<italic>(?:\\\\.|[^*\\\\])+)\\*",
    "(?<!\\w)_(?=\\S)(?<slanted>(?:\\\\.|[^_\\\\])+)_(?!\\w)",
  ].join("|"),
  "g",
);

function discordText(text) {
  return pieces(
    text,
    DISCORD_INLINE,
    ({ groups }) => {
      if (groups.escaped) return groups.escaped;
      if (groups.block !== undefined) return el("pre", "", groups.block);
      if (groups.code) return el("code", "", groups.code);
      if (groups.target) return link(groups.target, discordText(groups.label));
      if (groups.bold) return el("b", "", discordText(groups.bold));
      if (groups.under) return el("u", "", discordText(groups.under));
      if (groups.gone) return el("s", "", discordText(groups.gone));
      return el("i", "", discordText(groups.italic ?? groups.slanted));
    },
    (plain) => plain,
  );
}

function discordFooter(embed) {
  const parts = [embed.footer?.text, embed.timestamp && clock(embed.timestamp)].filter(Boolean);
  return parts.length ? el("div", "footer", parts.join(" · ")) : null;
}

function discordEmbed(embed) {
  const title = embed.title && (embed.url ? link(embed.url, discordText(embed.title)) : discordText(embed.title));
  const made = el("div", "embed",
    title && el("div", "title", title),
    embed.description && el("div", "description", discordText(embed.description)),
    embed.fields?.length && el("div", "fields", embed.fields.map((field) =>
      el("div", field.inline ? "" : "wide", el("b", "", discordText(field.name)), el("div", "", discordText(field.value))))),
    discordFooter(embed));
  made.style.borderLeftColor = "#" + (embed.color ?? 0x4e5058).toString(16).padStart(6, "0");
  return made;
}

function discordMessage({ at: moment, payload }) {
  const head = el("div", "who", el("b", "", payload.username || "knell"), el("span", "tag", "APP"), el("time", "", clock(moment)));
  const content = payload.content && el("div", "content", discordText(payload.content));
  return el("li", "post", avatar(), el("div", "body", head, content, (payload.embeds ?? []).map(discordEmbed)));
}
