// The shell of every page: keys, menus, notices. Pages work without it.

const MENU = "details.menu[open]";
const GO_WAIT_MILLISECONDS = 1200;

let goPressedAt = 0;

function isTyping(target) {
  return target.closest("input, select, textarea, [contenteditable]") !== null;
}

function rowLinks() {
  return [...document.querySelectorAll("main .row-link")].filter((link) => link.offsetParent !== null);
}

function moveInList(step) {
  const links = rowLinks();
  if (links.length === 0) {
    return false;
  }
  const row = document.activeElement.closest?.("tr, li");
  const current = links.findIndex((link) => link === document.activeElement || (row !== null && row?.contains(link)));
  const next = current === -1 ? (step > 0 ? 0 : links.length - 1) : current + step;
  if (next < 0) {
    focusSearch();
  } else if (next < links.length) {
    links[next].focus({ focusVisible: true });
    links[next].closest("tr, li")?.scrollIntoView({ block: "nearest" });
  }
  return true;
}

function focusSearch() {
  const box = document.querySelector("#q");
  box?.focus();
  box?.select();
  return box !== null;
}

function follow(selector) {
  const link = document.querySelector(selector);
  link?.click();
  return link !== null;
}

function showKeys() {
  document.querySelector("#keys").showModal();
  return true;
}

function goTo(digit) {
  const link = document.querySelectorAll(".nav a")[Number(digit) - 1];
  link?.click();
  return link !== undefined;
}

function leave(target) {
  const menu = document.querySelector(MENU);
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
    return true;
  }
  if (isTyping(target)) {
    target.blur();
  }
  return false;
}

const ACTIONS = {
  "/": focusSearch,
  "?": showKeys,
  j: () => moveInList(1),
  k: () => moveInList(-1),
  ArrowDown: () => moveInList(1),
  ArrowUp: () => moveInList(-1),
  "[": () => follow(".pager [rel=prev]"),
  "]": () => follow(".pager [rel=next]"),
};

function act(event) {
  if (event.key === "Escape") {
    return leave(event.target);
  }
  if (event.target.id === "q" && event.key === "ArrowDown") {
    return moveInList(1);
  }
  if (isTyping(event.target) || event.target.closest(MENU)) {
    return false;
  }
  if (/^[1-9]$/.test(event.key) && Date.now() - goPressedAt < GO_WAIT_MILLISECONDS) {
    return goTo(event.key);
  }
  goPressedAt = event.key === "g" ? Date.now() : 0;
  return ACTIONS[event.key]?.() ?? false;
}

document.addEventListener("keydown", (event) => {
  const busy = event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") !== null;
  if (!busy && !event.defaultPrevented && act(event)) {
    event.preventDefault();
  }
});

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(MENU)) {
    if (!menu.contains(event.target)) {
      menu.open = false;
    }
  }
  event.target.closest(".dismiss")?.closest(".notice").remove();
});

// Parts that renew themselves rest while nobody looks, and while one of their controls is in use.
document.addEventListener("htmx:beforeRequest", (event) => {
  const renews = event.target.getAttribute("hx-trigger")?.startsWith("every") && event.detail.requestConfig.verb === "get";
  const inUse = event.detail.target.contains(document.activeElement) && document.activeElement !== document.body;
  if (renews && (document.hidden || inUse)) {
    event.preventDefault();
  }
});

// The server can't be reached at all: say so where answers would have come.
document.addEventListener("htmx:sendError", () => {
  document.querySelector(".offline").hidden = false;
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.xhr?.status) {
    document.querySelector(".offline").hidden = true;
  }
});

// Where one is stands in sight, also where a phone's bars are wider than its screen.
for (const link of document.querySelectorAll(".nav [aria-current], .tabs [aria-current]")) {
  link.scrollIntoView({ block: "nearest", inline: "center" });
}

const keysButton = document.querySelector("#show-keys");
keysButton.hidden = false;
keysButton.addEventListener("click", showKeys);
