"use strict";
// An image goes to the server that sent this page; what comes back enters the page as text, never as markup.

const $ = (id) => document.getElementById(id);
const MOST_BARS = 10;
let token = "";
let asked = 0; // the latest question: an earlier one's answer comes too late

const make = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const percent = (p) => (100 * p).toFixed(p > 0.0995 && p < 0.9995 ? 0 : 1).replace("100.0", "100") + "\u00a0%";
const say = (text, wrong = false) => {
  $("status").textContent = text;
  $("status").className = wrong ? "wrong" : "";
};

async function ask(path, body) {
  const headers = token ? { Authorization: "Bearer " + token } : {};
  const answer = await fetch(path, body ? { method: "POST", body, headers } : { headers });
  const said = await answer.json();
  if (answer.ok) return said;
  if (answer.status === 401) {
    $("enter").hidden = false;
    $("token").focus();
  }
  throw new Error([said.what, said.expected && "Expected: " + said.expected, said.hint].filter(Boolean).join("\n"));
}

async function card() {
  try {
    const model = await ask("model");
    $("enter").hidden = true;
    say("");
    const sure = model.accuracy;
    const names = model.classes.slice(0, MOST_BARS).join(", ") + (model.classes.length > MOST_BARS ? ", …" : "");
    $("card").textContent =
      `The model tells ${model.classes.length} classes apart: ${names}.` +
      (sure && !sure.figures
        ? ` It classified ${percent(sure.value)} of ${sure.images} test images correctly ` +
          `(95 % interval ${percent(sure.lower)} to ${percent(sure.upper)}).`
        : "") +
      (model.promise ? " " + model.promise : "");
  } catch (error) {
    $("card").textContent = "";
    say(error.message, true);
  }
}

function bars(answer) {
  const ranked = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
  const rows = ranked.slice(0, MOST_BARS).map(([name, p]) => {
    const bar = make("div", { className: "bar" });
    bar.style.width = 100 * p + "%";
    const track = make("td", {}, make("div", { className: "track" }, bar));
    track.setAttribute("aria-hidden", "true");
    const possible = answer.set.length > 1 && answer.set.includes(name);
    const head = make("th", { scope: "row", textContent: name });
    return make("tr", { className: possible ? "possible" : "" }, head, track, make("td", { textContent: percent(p) }));
  });
  $("bars").replaceChildren(...rows);
  const left = ranked.slice(MOST_BARS);
  $("rest").textContent = left.length
    ? `And ${left.length} more, ${percent(left.reduce((sum, one) => sum + one[1], 0))} together.`
    : "";
}

function examples(list) {
  const names = [...new Set(list.map((one) => one.label))];
  $("examples").hidden = !list.length;
  $("near").replaceChildren(
    ...names.flatMap((name) => [
      make("h4", { textContent: name }),
      make(
        "div",
        { className: "near" },
        ...list
          .filter((one) => one.label === name)
          .map((one, n) => make("img", { src: one.image, alt: `Training image ${n + 1} of ${name}` })),
      ),
    ]),
  );
}

function show(found) {
  const { answer, coverage } = found;
  const text = answer.decision;
  $("name").textContent = answer.path;
  $("decision").textContent = text[0].toUpperCase() + text.slice(1);
  const first = `${answer.predicted} is the most probable class, with ${percent(answer.confidence)}. `;
  const set = answer.set.length
    ? `Possible at a coverage of ${percent(coverage)}: ${answer.set.join(", ")}. `
    : coverage === null ? "" : `No class fits as well as ${percent(coverage)} of the calibration images do. `;
  $("more").textContent = first + set + answer.notes.map((note) => `An image ${note}. `).join("");
  $("image").src = found.image;
  $("heat").hidden = !found.heat_map;
  if (found.heat_map) {
    $("map").src = found.heat_map;
    const place = found.brightest ? `brightest ${found.brightest}` : "nowhere bright";
    $("map").alt = `Heat map: ${place}`;
    $("where").textContent = `What supports ${answer.predicted}: ${place}`;
  }
  $("nomap").textContent = found.heat_map ? "" : `No heat map: ${found.no_heat_map}.`;
  bars(answer);
  examples(found.examples);
  $("result").hidden = false;
  $("decision").focus({ preventScroll: true });
}

async function look(file) {
  if (!file) return;
  const mine = ++asked;
  say("Looking at " + file.name + " …");
  const body = new FormData();
  body.append("images", file, file.name || "image");
  try {
    const found = await ask("explain", body);
    if (mine !== asked) return;
    say("");
    if (found.answer.problem) {
      $("result").hidden = true;
      say(`${file.name} cannot be read: ${found.answer.problem}`, true);
    } else show(found);
  } catch (error) {
    if (mine !== asked) return;
    $("result").hidden = true;
    say(error instanceof TypeError ? "The server does not answer.\nIs it still running?" : error.message, true);
  }
}

function start() {
  const drop = $("drop");
  $("file").addEventListener("change", (event) => {
    look(event.target.files[0]);
    event.target.value = ""; // so that the same file can be chosen again
  });
  $("enter").addEventListener("submit", (event) => {
    event.preventDefault();
    token = $("token").value.trim();
    card();
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    look(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => look(event.clipboardData.files[0]));
  card();
}

if (document.getElementById("drop")) start();
