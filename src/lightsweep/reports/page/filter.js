"use strict";
// One filter for the leaderboard and the figures. Its state is the text of its field: words that a row must have, and
// terms like lr<0.001 and activation=relu|gelu. Drags along an axis write such terms (brush.js).
const filter = (() => {
  const field = document.getElementById("filter");
  if (!field) return null;
  const [count, clear] = [document.getElementById("filter-count"), document.getElementById("filter-clear")];
  const listeners = [];
  const MOST = 200; // rows of a table
  let showsAll = false;
  let timer = 0;

  const plain = (text) => text.toLowerCase().replace(/\s+/g, "");
  const rows = [...document.querySelectorAll(".leaderboard tr[data-run]")].map((row) => ({ row, key: row.dataset.run, text: row.textContent.toLowerCase() }));
  const columns = new Map(); // the tables that have a column, with its place, by its name
  for (const table of document.querySelectorAll(".leaderboard")) {
    for (const heading of table.tHead.rows[0].cells) {
      if (!heading.querySelector("button")) continue; // a test score: nobody should choose by it
      const name = plain(heading.textContent);
      if (!columns.has(name)) columns.set(name, new Map());
      columns.get(name).set(table, heading.cellIndex);
    }
  }

  function parse(word) {
    const found = /^(.+?)(<=|>=|<|>|=)(.+)$/.exec(word);
    return found && columns.has(plain(found[1])) ? { name: plain(found[1]), sign: found[2], value: plain(found[3]) } : { word: word.toLowerCase() };
  }

  const words = () => field.value.match(/\S+/g) ?? [];

  function compare(cell, { sign, value }) {
    const text = plain(cell.dataset.value);
    if (sign === "=") {
      const isSame = (wanted) => text === wanted || (text === "" && wanted === "null") || (text !== "" && Number(text) === Number(wanted));
      return value.split("|").some(isSame);
    }
    const [own, limit] = [Number(text), Number(value)];
    if (text === "" || Number.isNaN(own) || Number.isNaN(limit)) return false;
    if (sign[0] === "<") return own < limit || (sign === "<=" && own === limit);
    return own > limit || (sign === ">=" && own === limit);
  }

  function fits({ row, text }, term) {
    if (term.word !== undefined) return text.includes(term.word);
    const index = columns.get(term.name).get(row.closest("table"));
    return index !== undefined && compare(row.cells[index], term);
  }

  // Of many rows that fit the first are shown: a table of thousands takes seconds to lay out.
  function apply() {
    const terms = words().map(parse);
    const keys = new Set(rows.filter((each) => terms.every((term) => fits(each, term))).map((each) => each.key));
    for (const table of document.querySelectorAll(".leaderboard")) {
      let left = showsAll ? Infinity : MOST;
      for (const row of table.tBodies[0].rows) {
        if (!row.dataset.run) continue;
        const isHidden = !keys.has(row.dataset.run) || left-- <= 0;
        if (row.hidden !== isHidden) row.hidden = isHidden;
        if (row.opened) row.opened.hidden = isHidden;
      }
      table.parentElement.nextElementSibling.hidden = left >= 0;
    }
    count.textContent = terms.length ? `${keys.size} of ${rows.length}` : `${rows.length} run${rows.length === 1 ? "" : "s"}`;
    clear.hidden = !terms.length;
    for (const listener of listeners) listener(terms);
    clearTimeout(timer);
    timer = setTimeout(() => charts.filter(terms.length ? keys : null), 150);
  }

  function set(text) {
    field.value = text;
    apply();
  }

  field.addEventListener("input", apply);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") set("");
  });
  clear.addEventListener("click", () => {
    set("");
    field.focus();
  });
  for (const button of document.querySelectorAll(".more button")) {
    button.addEventListener("click", () => {
      showsAll = true;
      apply();
    });
  }
  document.addEventListener("sorted", apply);
  apply(); // a browser keeps what was typed when it reloads a page

  return {
    has: (name) => columns.has(plain(name)),
    terms: () => words().map(parse),
    // Replace the terms of one column by these.
    limit(name, terms) {
      set([...words().filter((word) => parse(word).name !== plain(name)), ...terms].join(" "));
    },
    // Call with the terms, each {name, sign, value} or {word}, whenever they change.
    listen: (listener) => listeners.push(listener),
    plain,
  };
})();
