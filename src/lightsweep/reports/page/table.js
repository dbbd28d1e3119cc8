"use strict";
// Tables that are sorted, rows that open their run, and commands that are copied.
(() => {
  const runs = JSON.parse(document.getElementById("run-data").textContent);

  function compare(one, other) {
    if (one === "" || other === "") return (one === "") - (other === "");
    const difference = Number(one) - Number(other);
    return Number.isNaN(difference) ? one.localeCompare(other, undefined, { numeric: true }) : difference;
  }

  function sort(heading) {
    const table = heading.closest("table");
    const index = heading.cellIndex;
    const falling = heading.getAttribute("aria-sort") === "ascending";
    const value = (row) => row.cells[index].dataset.value;
    const rows = [...table.tBodies[0].rows].filter((row) => !row.classList.contains("opened"));
    rows.sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      return a === "" || b === "" ? compare(a, b) : (falling ? -1 : 1) * compare(a, b);
    });
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    table.tBodies[0].append(...rows.flatMap((row) => (row.opened ? [row, row.opened] : [row])));
    document.dispatchEvent(new Event("sorted"));
  }

  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }

  // Values from run folders become text here, never HTML.
  function make(name, text, className) {
    const element = document.createElement(name);
    if (text) element.textContent = text;
    if (className) element.className = className;
    return element;
  }

  function makeCommand(text) {
    const made = make("div", "", "command");
    const [shown, button] = [make("pre"), make("button", "Copy", "copy")];
    shown.tabIndex = 0;
    shown.append(make("code", text));
    button.type = "button";
    made.append(shown, button);
    offerCopy(button);
    return made;
  }

  function makeFacts(pairs) {
    const made = make("dl", "", "facts");
    for (const [label, ...values] of pairs) made.append(make("dt", label), make("dd", values.join(" → ")));
    return made;
  }

  function makeFolder(run) {
    const made = make("p", "", "folder");
    const path = make(run.link ? "a" : "span", run.folder);
    if (run.link) Object.assign(path, { href: run.link, rel: "noopener noreferrer" });
    made.append(path);
    return made;
  }

  function makePanel(run) {
    const [panel, facts] = [make("div", "", "panel"), make("div")];
    if (run.changes.length) facts.append(make("h3", run.against), makeFacts(run.changes));
    else facts.append(make("p", run.same, "quiet"));
    if (run.command) facts.append(make("h3", "To train it again"), makeCommand(run.command));
    if (run.note) facts.append(make("p", run.note, "quiet"));
    if (run.folder) facts.append(make("h3", "Folder"), makeFolder(run));
    panel.append(facts);
    return panel;
  }

  let opened = 0;
  function toggle(row, button) {
    const isOpen = Boolean(row.opened);
    button.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) {
      const chart = row.opened.querySelector(".chart");
      if (chart) charts.remove(chart);
      row.opened.remove();
      row.opened = null;
      return;
    }
    row.opened = make("tr", "", "opened");
    const cell = row.opened.insertCell();
    cell.colSpan = row.cells.length;
    const panel = makePanel(runs[row.dataset.run]);
    cell.append(panel);
    row.after(row.opened);
    const curve = charts.curveOf(row.dataset.run);
    if (curve) {
      const chart = make("div", "", "chart");
      chart.id = `opened-${opened++}`;
      chart.setAttribute("role", "img");
      chart.setAttribute("aria-label", "Learning curve");
      panel.append(chart);
      charts.add(chart, curve);
    }
  }

  for (const row of document.querySelectorAll("tr[data-run]")) {
    const button = row.querySelector(".open");
    row.addEventListener("click", (event) => {
      const isAction = event.target.closest("a, button") && event.target.closest("button") !== button;
      if (!isAction && getSelection().isCollapsed) toggle(row, button);
    });
  }

  function offerCopy(button) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
    });
  }

  document.querySelectorAll(".copy").forEach(offerCopy);
})();
