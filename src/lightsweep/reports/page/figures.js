"use strict";
// Draws each figure when it comes near the window. While a filter is set, the other runs are drawn faintly.
const charts = (() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const touch = matchMedia("(pointer: coarse)");
  const drawn = new Map(); // elements, and the filter that each was drawn with
  const near = new Set();
  const callbacks = new Map();
  let chosen = null; // keys of the runs that pass the filter; null: all do

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

  // A trace with only those of its points whose run fits; `runs` has the key of each point's run.
  function part(trace, fits) {
    const kept = trace.runs.map(fits);
    const pick = (object, names) => {
      const made = { ...object };
      for (const name of names) {
        if (Array.isArray(made[name])) made[name] = made[name].filter((_, index) => kept[index]);
      }
      return made;
    };
    const marker = trace.marker && { marker: pick(trace.marker, ["color", "size", "symbol"]) };
    return { ...pick(trace, ["x", "y", "base", "text", "customdata", "runs"]), ...marker };
  }

  function split(trace) {
    if (chosen === null || !trace.runs) return [trace];
    const shown = part(trace, (run) => chosen.has(run));
    const others = part(trace, (run) => !chosen.has(run));
    const faint = { ...others, opacity: 0.08, hoverinfo: "skip", hovertemplate: null };
    if (!shown.runs.length) return [faint]; // it keeps its place in the legend, so that nothing moves
    if (others.marker) others.marker.showscale = false;
    return [{ ...faint, showlegend: false }, shown];
  }

  function draw(element) {
    const figure = figures[element.id];
    // No button uploads a figure, which is plotly's default.
    const settings = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "", displayModeBar: touch.matches ? false : "hover", modeBarButtonsToRemove: ["select2d", "lasso2d"] };
    drawn.set(element, chosen);
    for (const trace of figure.data) {
      if (trace.texttemplate) trace.textfont = { ...trace.textfont, color: colour("text") };
    }
    const isFirst = !element.on;
    Plotly.react(element, figure.data.flatMap(split), { ...figure.layout, template: template() }, settings).then(() => {
      const callback = callbacks.get(element);
      if (!callback || !isFirst) return;
      element.on("plotly_afterplot", callback);
      callback();
    });
  }

  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) near.delete(target);
      else {
        near.add(target);
        update(target);
      }
    }
  }, { rootMargin: "400px" });

  function update(element) {
    const isFiltered = figures[element.id].data.some((trace) => trace.runs);
    if (!drawn.has(element) || (isFiltered && drawn.get(element) !== chosen)) draw(element);
  }

  for (const id of Object.keys(figures)) observer.observe(document.getElementById(id));
  const again = () => drawn.forEach((_, element) => draw(element));
  dark.addEventListener("change", again);
  narrow.addEventListener("change", again);
  addEventListener("beforeprint", () => Object.keys(figures).forEach((id) => update(document.getElementById(id))));

  return {
    figures,
    // Show these runs, a set of keys, in every figure; null: all runs.
    filter(runs) {
      chosen = runs;
      near.forEach(update);
    },
    // Call whenever this figure was drawn, or drawn in another size.
    whenDrawn: (element, callback) => callbacks.set(element, callback),
    // Draw a figure that is not in the page's data.
    add(element, figure) {
      figures[element.id] = figure;
      draw(element);
    },
    remove(element) {
      drawn.delete(element);
      delete figures[element.id];
      Plotly.purge(element);
    },
    // The learning curves of one run, and of the best; null where there are none.
    curveOf(run) {
      const source = Object.values(figures).find((figure) => figure.curves);
      if (!source) return null;
      const best = source.data.find((trace) => trace.name === "best");
      const lines = source.data.filter((trace) => trace !== best && trace.mode === "lines");
      const own = lines.map((trace) => part(trace, (other) => other === run)).filter((trace) => trace.runs.length);
      if (!own.length) return null;
      const look = { mode: "lines+markers", opacity: 1, showlegend: true };
      const shown = own.map(({ runs, ...trace }) => ({ ...trace, ...look, name: trace.text[0], line: { ...trace.line, width: 2 } }));
      const { runs, ...top } = best && best.runs[0] !== run ? best : {};
      return { data: [...(top.x ? [{ ...top, line: { ...top.line, width: 1.5, dash: "dot" } }] : []), ...shown], layout: source.layout };
    },
  };
})();
