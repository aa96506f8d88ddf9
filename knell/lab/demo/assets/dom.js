"use strict";
/* Everything that came from an event becomes a text node: there is no way from here to markup. */

const word = (name) => document.body.dataset[name] ?? name;
const at = (id) => document.getElementById(id);

function el(tag, name, ...children) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

function link(address, ...children) {
  if (!/^https?:/i.test(address)) return el("span", "", ...children);
  const made = el("a", "", ...children);
  made.href = address;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

function clock(moment, seconds) {
  const shown = { hour: "2-digit", minute: "2-digit", hour12: false };
  return new Date(moment).toLocaleTimeString([], seconds ? { ...shown, second: "2-digit" } : shown);
}

const BELL = document.querySelector(".brand svg");
const avatar = () => el("span", "avatar", BELL.cloneNode(true));

/* Replaces each match of a pattern by what `make` returns, and the text between by what `plain` returns. */
function pieces(text, pattern, make, plain) {
  const found = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) found.push(plain(text.slice(end, match.index)));
    found.push(make(match));
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push(plain(text.slice(end)));
  return found;
}

const MOST = 40;

/* What happened before the page was opened is there at once, and nothing new. */
let live = false;

function append(feed, item) {
  const near = feed.scrollHeight - feed.scrollTop - feed.clientHeight < 80;
  if (live) item.classList.add("new");
  feed.append(item);
  while (feed.children.length > MOST) feed.firstElementChild.remove();
  if (near) feed.scrollTop = feed.scrollHeight;
}

function prepend(feed, item) {
  if (live) item.classList.add("new");
  feed.prepend(item);
  while (feed.children.length > MOST) feed.lastElementChild.remove();
}
