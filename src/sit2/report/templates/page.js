"use strict";
// The confusion matrix as a heat map: keyboard, mouse and screen reader select a cell, and its images appear.
// Text from the run enters the page as text (textContent), never as markup.

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

function heatMap(root, data) {
  const K = data.classes.length;
  const find = (selector) => root.querySelector(selector);
  const state = { method: data.chosen, view: "method", unit: "rates", cell: null };
  const dense = (cells) => {
    const matrix = Array.from({ length: K }, () => new Array(K).fill(0));
    for (const [i, j, n] of cells) matrix[i][j] = n;
    return matrix;
  };
  const matrices = data.matrices.map(dense);
  const measured = data.measured && dense(data.measured.cells);
  const totals = () => (state.view === "measured" ? data.measured.samples : data.samples);

  const control = () => data.controls[state.method]; // -1: none
  const method = () => (state.view === "control" ? control() : state.method);
  const count = (i, j) => {
    if (state.view === "measured") return measured[i][j];
    if (state.view === "difference") return matrices[state.method][i][j] - matrices[control()][i][j];
    return matrices[method()][i][j];
  };
  const rate = (i, j) => (totals()[i] ? count(i, j) / totals()[i] : 0);
  const minus = (text) => text.replace("-", "−");
  const whole = (n) => (Number.isInteger(n) ? String(n) : n.toFixed(1));
  const signed = (text, n) => (state.view === "difference" && n > 0 ? "+" + text : minus(text));
  const percent = (fraction) => (100 * fraction).toFixed(Math.abs(fraction) < 0.0995 && fraction ? 1 : 0);
  const shown = (i, j, unit) => {
    const n = count(i, j);
    if (Math.abs(n) < 0.05) return "";
    return unit === "counts" ? signed(whole(n), n) : signed(percent(rate(i, j)), n);
  };
  const both = K <= 14; // where a cell has room for the percentage and the number of images

  // Colour: the page's own, mixed with its background; text is black or white, whichever stands out more.
  const rgb = (name) => {
    const value = getComputedStyle(document.documentElement).getPropertyValue(name).trim().slice(1);
    const full = value.length === 3 ? [...value].map((c) => c + c).join("") : value;
    return [0, 2, 4].map((at) => parseInt(full.slice(at, at + 2), 16));
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const mixed = (from, to, part) => from.map((v, k) => Math.round(v + (to[k] - v) * part));
  const css = (colour) => `rgb(${colour.join(",")})`;

  function paint() {
    const page = rgb("--page"), heat = rgb("--heat"), more = rgb("--more"), fewer = rgb("--fewer");
    let most = 0;
    for (let i = 0; i < K; i++)
      for (let j = 0; j < K; j++) most = Math.max(most, Math.abs(state.unit === "counts" ? count(i, j) : rate(i, j)));
    for (const cell of cells) {
      const { i, j } = cell.place, n = count(i, j);
      const size = state.unit === "counts" ? n : rate(i, j);
      // The square root makes a few errors visible beside many correct predictions.
      // A row of few images is paler: its percentages are uncertain.
      const certain = state.unit === "counts" ? 1 : Math.min(1, totals()[i] / data.few);
      const depth = most ? Math.sqrt((Math.abs(size) / most) * certain) : 0;
      const full = state.view === "difference" ? (n > 0 ? more : fewer) : heat;
      const colour = mixed(page, full, Math.abs(n) < 0.05 ? 0 : 0.06 + 0.94 * depth);
      const light = luminance(colour);
      cell.style.background = css(colour);
      cell.style.color = 1.05 / (light + 0.05) >= (light + 0.05) / 0.05 ? "#fff" : "#000";
      if (K <= 30) cell.textContent = shown(i, j, state.unit);
      if (both && cell.textContent) {
        const other = state.unit === "counts" ? shown(i, j, "rates") + " %" : shown(i, j, "counts");
        cell.append(element("small", { textContent: other }));
      }
      cell.setAttribute("aria-label", spoken(i, j));
    }
    for (const th of numbers) {
      const n = totals()[th.of];
      th.textContent = n < data.few ? `${n} *` : n;
    }
    const end = state.unit === "counts" ? whole(most) : `${percent(most)} %`;
    const scale = find(".scale");
    const difference = state.view === "difference";
    const left = difference ? fewer : page;
    const stops = difference ? [left, page, more] : [page, heat];
    scale.replaceChildren(
      element("span", { textContent: difference ? `−${end}` : "0" }),
      element("i", { style: `background: linear-gradient(90deg, ${stops.map(css).join(", ")})` }),
      element("span", { textContent: (difference ? "+" : "") + end }),
      element("span", { textContent: difference ? "Off the diagonal, fewer is better; on it, more is better." : "of the true class, on a square-root scale" }),
    );
    if (state.unit === "counts" && !difference) scale.lastChild.textContent = "images, on a square-root scale";
  }

  function spoken(i, j) {
    const what = i === j ? `${data.classes[i]}, correct` : `${data.classes[i]} classified as ${data.classes[j]}`;
    const n = count(i, j);
    const many = signed(whole(n), n);
    return `${what}: ${many} of ${totals()[i]} images, ${signed(percent(rate(i, j)), n)} %`;
  }

  // The table
  const cells = [];
  const table = element("table");
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", "Confusion matrix: rows are true classes, columns are predictions");
  const heading = element("tr", {}, element("th", { className: "corner", textContent: "true ↓  predicted →" }));
  heading.firstChild.scope = "col";
  heading.append(element("th", { scope: "col", className: "images" }, element("span", { textContent: "images" })));
  const numbers = [];
  for (const j of data.order) {
    const th = element("th", { scope: "col", title: data.classes[j] }, element("span", { textContent: data.classes[j] }));
    heading.append(th);
  }
  const body = element("tbody");
  data.order.forEach((i, row) => {
    const tr = element("tr", {}, element("th", { scope: "row", textContent: data.classes[i], title: data.classes[i] }));
    const images = element("th", { className: "images" });
    images.of = i;
    numbers.push(images);
    tr.append(images);
    data.order.forEach((j, column) => {
      const td = element("td", { tabIndex: -1, className: i === j ? "own" : "" });
      td.setAttribute("role", "gridcell");
      td.setAttribute("aria-selected", "false");
      td.place = { i, j, row, column };
      cells.push(td);
      tr.append(td);
    });
    body.append(tr);
  });
  table.append(element("thead", {}, heading), body);
  find(".heat").append(table);
  if (both) find(".heat").classList.add("both");
  if (K > 30) find(".heat").classList.add("small");
  else if (K > 14) find(".heat").classList.add("middle");
  cells[0].tabIndex = 0;

  function focus(row, column) {
    const clamp = (n) => Math.max(0, Math.min(K - 1, n));
    const target = cells[clamp(row) * K + clamp(column)];
    table.querySelector('[tabindex="0"]').tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  }
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -K], End: [0, K] };
  table.addEventListener("keydown", (event) => {
    const place = event.target.place;
    if (!place) return;
    if (event.key in moves) {
      const [down, right] = moves[event.key];
      focus(place.row + down, place.column + right);
    } else if (event.key === "Enter" || event.key === " ") choose(place.i, place.j);
    else return;
    event.preventDefault();
  });
  table.addEventListener("click", (event) => {
    const place = event.target.closest("td")?.place; // not the small figure in it
    if (!place) return;
    focus(place.row, place.column);
    choose(place.i, place.j);
  });

  // What lies behind a cell
  function choose(i, j) {
    state.cell = { i, j };
    for (const cell of cells) cell.setAttribute("aria-selected", String(cell.place.i === i && cell.place.j === j));
    find("select.true").value = i;
    find("select.predicted").value = j;
    behind();
  }
  function images() {
    const { i, j } = state.cell, key = `${i},${j}`;
    if (state.view === "measured") return [];
    if (state.view !== "difference") return (data.cells[method()][key] || []).map((n) => [n, ""]);
    const both = [state.method, control()];
    const inCell = (n, m) => data.images[n].by[m][0] === j;
    const only = (m, other) => (data.cells[m][key] || []).filter((n) => !inCell(n, other)).map((n) => [n, `only ${data.methods[m]}`]);
    return [...only(...both), ...only(...both.reverse())];
  }
  function behind() {
    if (!state.cell) return;
    const { i, j } = state.cell;
    find(".behind h3").textContent = spoken(i, j);
    const found = images();
    const notes = [];
    if (state.view === "measured") notes.push("Measured before training, on the training images, as mean probabilities: there are no single images to show.");
    else if (state.view === "difference") notes.push("Images that only one of the two methods put into this cell.");
    else if (found.length < count(i, j)) notes.push(`${found.length} of ${count(i, j)} are shown, those with the highest confidence first.`);
    find(".behind p").textContent = notes.join(" ");
    find(".behind ul").replaceChildren(...found.map(([n, tag]) => picture(data.images[n], tag)));
  }
  function picture(image, tag) {
    const item = element("li");
    if (image.src) {
      const img = element("img", { src: image.src, alt: `${data.classes[image.label]}: ${image.id}` });
      img.addEventListener("load", () => img.classList.toggle("tiny", img.naturalWidth < 48));
      item.append(img);
    } else item.append(element("span", { className: "none", textContent: "no picture" }));
    const several = control() >= 0;
    for (const m of several ? [control(), state.method] : [state.method]) {
      const [predicted, confidence, truth] = image.by[m];
      const right = predicted === image.label ? "" : ` (${data.classes[image.label]} ${percent(truth)} %)`;
      item.append(element("span", {}, `${several ? data.methods[m] : "predicted"}: `, element("b", { textContent: data.classes[predicted] }), ` ${percent(confidence)} %${right}`), element("br"));
    }
    if (tag) item.append(element("span", { textContent: tag }), element("br"));
    item.append(element("span", { className: "id", textContent: image.id }));
    return item;
  }

  // Controls
  function names() {
    const has = control() >= 0;
    for (const label of root.querySelectorAll(".of-control")) label.hidden = !has;
    for (const name of root.querySelectorAll(".control-name")) name.textContent = has ? data.methods[control()] : "";
    for (const name of root.querySelectorAll(".method-name")) name.textContent = data.methods[state.method];
    if (!has && (state.view === "control" || state.view === "difference")) {
      state.view = "method";
      find('input[value="method"]').checked = true;
    }
  }
  const update = () => { names(); paint(); behind(); };
  for (const input of root.querySelectorAll("input[type=radio]"))
    input.addEventListener("change", () => { state[input.dataset.sets] = input.value; update(); });
  const pick = find("select.method");
  if (pick) pick.addEventListener("change", () => { state.method = Number(pick.value); update(); });
  for (const select of [find("select.true"), find("select.predicted")]) {
    for (const k of data.order) select.append(element("option", { value: k, textContent: data.classes[k] }));
    select.addEventListener("change", () => {
      const i = Number(find("select.true").value), j = Number(find("select.predicted").value);
      choose(i, j);
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  addEventListener("beforeprint", paint);
  addEventListener("afterprint", paint);
  names();
  paint();
  const errors = cells.map((cell) => cell.place).filter(({ i, j }) => i !== j);
  const worst = errors.reduce((a, b) => (matrices[state.method][b.i][b.j] > matrices[state.method][a.i][a.j] ? b : a));
  choose(worst.i, worst.j);
}

const source = document.getElementById("confusion-data");
if (source) heatMap(document.getElementById("confusion-map"), JSON.parse(source.textContent));
for (const image of document.querySelectorAll(".pictures img"))
  if (image.naturalWidth && image.naturalWidth < 48) image.classList.add("tiny");
