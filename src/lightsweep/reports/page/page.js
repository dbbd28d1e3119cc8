"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const touch = matchMedia("(pointer: coarse)");
  const drawn = new Set();

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function template() {
    const axis = { gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line"), automargin: true, exponentformat: "power", title: { standoff: 8 } };
    return {
      layout: {
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: colour("text"), family: getComputedStyle(document.body).fontFamily, size: narrow.matches ? 11 : 13 },
        xaxis: axis,
        yaxis: axis,
        legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, bgcolor: "rgba(0,0,0,0)" },
        hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") }, namelength: -1 },
        margin: { l: 56, r: 16, t: 36, b: 48 },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("accent") },
        dragmode: touch.matches ? false : "zoom",
      },
    };
  }

  function draw(element) {
    const figure = figures[element.id];
    const settings = { responsive: true, displaylogo: false, displayModeBar: touch.matches ? false : "hover", showLink: false };
    drawn.add(element);
    for (const trace of figure.data) {
      if (trace.texttemplate) trace.textfont = { ...trace.textfont, color: colour("text") };
    }
    return Plotly.react(element, figure.data, { ...figure.layout, template: template() }, settings);
  }

  function drawAll() {
    for (const id of Object.keys(figures)) draw(document.getElementById(id));
  }

  // A figure is drawn when it comes near the window, so that a page of a large study opens at once.
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
    }
  }, { rootMargin: "400px" });
  for (const id of Object.keys(figures)) near.observe(document.getElementById(id));
  const again = () => drawn.forEach(draw);
  dark.addEventListener("change", again);
  narrow.addEventListener("change", again);
  addEventListener("beforeprint", drawAll);

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
    const rows = [...table.tBodies[0].rows];
    rows.sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      return a === "" || b === "" ? compare(a, b) : (falling ? -1 : 1) * compare(a, b);
    });
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    table.tBodies[0].append(...rows);
  }

  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }

  for (const button of document.querySelectorAll(".copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
    });
  }
})();
