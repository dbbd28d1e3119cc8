"use strict";
// Ranges on the axes of parallel coordinates: a drag along an axis writes the terms of the filter, a click removes them.
(() => {
  const [id, figure] = Object.entries(charts.figures).find(([, each]) => each.axes) ?? [];
  if (!figure || !filter) return;
  const element = document.getElementById(id);
  const axes = figure.axes.map((axis, index) => ({ ...axis, index })).filter((axis) => axis.column && filter.has(axis.column));

  const scaled = (axis, value) => (axis.log ? Math.log10(value) : value);
  const shareOf = (axis, value) => (scaled(axis, value) - scaled(axis, axis.low)) / (scaled(axis, axis.high) - scaled(axis, axis.low));
  function valueAt(axis, share) {
    const value = scaled(axis, axis.low) + share * (scaled(axis, axis.high) - scaled(axis, axis.low));
    return String(Number((axis.log ? 10 ** value : value).toPrecision(3)));
  }
  const shareOfChoice = (axis, index) => index / Math.max(1, axis.choices.length - 1);

  function termsOf(axis, low, high) {
    if (axis.choices.length) {
      const within = axis.choices.filter((_, index) => low <= shareOfChoice(axis, index) && shareOfChoice(axis, index) <= high);
      return within.length ? [`${axis.column}=${within.map((choice) => choice.replace(/\s+/g, "")).join("|")}`] : [];
    }
    return [...(low > 0 ? [`${axis.column}>=${valueAt(axis, low)}`] : []), ...(high < 1 ? [`${axis.column}<=${valueAt(axis, high)}`] : [])];
  }

  // The part of an axis that the filter's terms leave, as shares; null where it has none.
  function rangeOf(axis, terms) {
    const own = terms.filter((term) => term.name === filter.plain(axis.column));
    let [low, high] = [-0.02, 1.02];
    for (const { sign, value } of own) {
      const values = value.split("|");
      const at = axis.choices.length
        ? axis.choices.flatMap((choice, index) => (values.includes(filter.plain(choice)) ? [shareOfChoice(axis, index)] : []))
        : values.map((each) => shareOf(axis, Number(each)));
      if (!at.length || at.some(Number.isNaN)) return null;
      if (sign !== "<" && sign !== "<=") low = Math.max(low, Math.min(...at) - (sign === "=" ? 0.02 : 0));
      if (sign !== ">" && sign !== ">=") high = Math.min(high, Math.max(...at) + (sign === "=" ? 0.02 : 0));
    }
    return own.length ? [low, high] : null;
  }

  const clamp = (share) => Math.min(1.04, Math.max(-0.04, share));

  function makeStrip(axis) {
    const strip = document.createElement("div");
    const box = document.createElement("div");
    strip.className = "brush";
    strip.title = `Drag to choose a range of ${axis.column}; click to clear it`;
    strip.append(box);
    let start = null;
    const at = (event) => {
      const { y, height } = strip.getBoundingClientRect();
      return clamp(1.04 - (1.08 * (event.clientY - y)) / height);
    };
    const chosen = (event) => [start, at(event)].sort((one, other) => one - other);
    strip.addEventListener("pointerdown", (event) => {
      start = at(event);
      strip.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    strip.addEventListener("pointermove", (event) => {
      if (start !== null) show(axis, chosen(event));
    });
    strip.addEventListener("pointerup", (event) => {
      if (start === null) return;
      const [low, high] = chosen(event);
      start = null;
      filter.limit(axis.column, high - low < 0.01 ? [] : termsOf(axis, low, high));
    });
    strip.addEventListener("pointercancel", () => {
      start = null;
      showAll();
    });
    return { strip, box };
  }

  const strips = new Map(axes.map((axis) => [axis, makeStrip(axis)]));

  function show(axis, range) {
    const { box } = strips.get(axis);
    box.hidden = range === null;
    if (range === null) return;
    const [low, high] = range.map(clamp);
    box.style.top = `${(100 * (1.04 - high)) / 1.08}%`;
    box.style.height = `${(100 * Math.max(0, high - low)) / 1.08}%`;
  }

  function showAll() {
    const terms = filter.terms();
    for (const axis of axes) show(axis, rangeOf(axis, terms));
  }

  // Plotly says where its axes are.
  function place() {
    const { xaxis, yaxis } = element._fullLayout;
    for (const [axis, { strip }] of strips) {
      strip.style.left = `${xaxis._offset + xaxis.c2p(axis.index)}px`;
      strip.style.top = `${yaxis._offset}px`;
      strip.style.height = `${yaxis._length}px`;
      if (!strip.isConnected) element.append(strip);
    }
  }

  charts.whenDrawn(element, place);
  filter.listen(showAll);
  showAll();
})();
