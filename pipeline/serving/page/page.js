"use strict";
// Answers while one types. Without this script, the form and the links load the page anew.
(() => {
  const form = document.getElementById("ask");
  const question = document.getElementById("q");
  let timer = 0;
  let running = null;

  async function show(address, remember) {
    if (running) running.abort();
    const mine = running = new AbortController();
    document.body.classList.add("busy");
    try {
      const answer = await fetch(address, { signal: mine.signal, credentials: "same-origin" });
      const text = await answer.text();
      const page = new DOMParser().parseFromString(text, "text/html");
      const found = page.getElementById("found");
      if (!found) { location.assign(address); return; }
      document.getElementById("found").replaceWith(found);
      for (const old of form.querySelectorAll("input[name=f]")) old.remove();
      for (const chosen of page.querySelectorAll("#ask input[name=f]")) form.append(chosen);
      document.title = page.title;
      if (remember) history.pushState(null, "", address);
      else history.replaceState(null, "", address);
    } catch (error) {
      if (error.name !== "AbortError") location.assign(address);
    } finally {
      if (running === mine) {
        running = null;
        document.body.classList.remove("busy");
      }
    }
  }

  function address() {
    const given = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value) given.append(name, value);
    return "/?" + given;
  }

  function soon(wait) {
    clearTimeout(timer);
    timer = setTimeout(() => show(address(), false), wait);
  }

  question.addEventListener("input", () => soon(250));
  form.addEventListener("change", event => { if (event.target !== question) soon(0); });
  form.addEventListener("submit", event => {
    event.preventDefault();
    clearTimeout(timer);
    show(address(), true);
  });
  document.addEventListener("click", event => {
    const link = event.target.closest("#found nav a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link.getAttribute("href"), true);
  });
  window.addEventListener("popstate", () => location.reload());
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const hits = [...document.querySelectorAll(".hits article")];
    const place = hits.indexOf(document.activeElement);
    if (event.key === "/" && !event.target.closest("input, select")) {
      event.preventDefault();
      question.focus();
      question.select();
    } else if (event.key === "ArrowDown" && (place >= 0 || document.activeElement === question)) {
      event.preventDefault();
      if (hits[place + 1]) hits[place + 1].focus();
    } else if (event.key === "ArrowUp" && place >= 0) {
      event.preventDefault();
      (hits[place - 1] || question).focus();
    }
  });
})();
