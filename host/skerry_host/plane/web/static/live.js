// Keeps the page fresh: fetches it again every two seconds and swaps in the parts that changed.
// The page is whole without this script; nothing here talks to anyone but the host that served it.
"use strict";

const PERIOD_MS = 2000;
const live = document.getElementById("live");
const pulse = document.getElementById("pulse");

// Bring `target` to look like `source`, touching only what differs, so that focus, scroll and hover survive.
function morph(target, source) {
  if (target.isEqualNode(source)) return;
  const sameKind = target.nodeType === source.nodeType && target.nodeName === source.nodeName;
  if (!sameKind) {
    target.replaceWith(source.cloneNode(true));
    return;
  }
  if (target.nodeType !== Node.ELEMENT_NODE) {
    target.nodeValue = source.nodeValue;
    return;
  }
  for (const name of target.getAttributeNames()) if (!source.hasAttribute(name)) target.removeAttribute(name);
  for (const { name, value } of source.attributes) if (target.getAttribute(name) !== value) target.setAttribute(name, value);
  const wanted = [...source.childNodes];
  const present = [...target.childNodes];
  wanted.forEach((node, i) => (i < present.length ? morph(present[i], node) : target.append(node.cloneNode(true))));
  present.slice(wanted.length).forEach((node) => node.remove());
}

function show(state) {
  pulse.dataset.state = state;
  pulse.textContent = state;
}

async function refresh() {
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = fresh.title;
    morph(live, fresh.getElementById("live"));
    show("live");
  } catch {
    show("offline");
  }
}

function paint(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

const button = document.getElementById("theme");
button.hidden = false;
paint(localStorage.getItem("theme"));
button.addEventListener("click", () => {
  const now = document.documentElement.dataset.theme;
  const dark = now ? now === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  localStorage.setItem("theme", dark ? "light" : "dark");
  paint(dark ? "light" : "dark");
});

setInterval(() => document.hidden || refresh(), PERIOD_MS);
