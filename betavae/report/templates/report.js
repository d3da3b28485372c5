"use strict";

// A latent's slider moves its picture along the strip.
for (const slider of document.querySelectorAll(".latent input")) {
  const view = slider.closest(".latent").querySelector(".view");
  const output = slider.parentElement.querySelector("output");
  const show = () => {
    const share = slider.value / slider.max;
    const value = ((2 * share - 1) * LIMIT).toFixed(1);
    view.style.backgroundPositionX = `${100 * share}%`;
    output.value = value > 0 ? `+${value}` : value;
    slider.setAttribute("aria-valuetext", `${value} standard deviations`);
  };
  slider.addEventListener("input", show);
  show(); // a browser may have kept the slider's place over a reload
}

// Paper cannot unfold what is folded.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => (details.open = true)));

// A click on a column's header sorts by it: numbers from the largest, words from A; a second click turns it round.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => header.addEventListener("click", () => sortBy(table, headers, column)));
}

function sortBy(table, headers, column) {
  const body = table.tBodies[0];
  const cellOf = (row) => row.cells[column];
  const isEmpty = (row) => cellOf(row).textContent.trim() === "";
  const isNumber = [...body.rows].every((row) => "value" in cellOf(row).dataset || isEmpty(row));
  const before = headers[column].getAttribute("aria-sort");
  const descending = before ? before === "ascending" : isNumber;
  const sign = descending ? -1 : 1;
  const compare = (a, b) => {
    const [left, right] = [cellOf(a), cellOf(b)];
    const missing = isEmpty(a) - isEmpty(b);
    if (missing) return missing; // last, whichever way
    if (isNumber) return sign * (left.dataset.value - right.dataset.value);
    return sign * left.textContent.localeCompare(right.textContent, undefined, { numeric: true });
  };
  body.append(...[...body.rows].sort(compare));
  headers.forEach((header) => header.removeAttribute("aria-sort"));
  headers[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
}

// What only the page of a sweep has: notes on its trials.
const noteSource = document.getElementById("trial-notes");
if (noteSource) {
  const notes = JSON.parse(noteSource.textContent);
  const rows = [...document.querySelectorAll("tr[data-trial]")];
  const showTarget = letModelsLieSideBySide();
  letReadersPoint(notes, rows, showTarget);
  letReadersFilter(notes, rows);
}

// A reader points at a trial, in a figure or at its row: all its marks stand out, and a note says what it is.
function letReadersPoint(notes, rows, showTarget) {
  const figures = [...document.querySelectorAll(".figure")];
  const note = document.getElementById("note");
  const marksOf = (root, trial) => [...root.querySelectorAll(".mark")].filter((mark) => mark.dataset.trial === trial);
  const rowOf = (trial) => rows.find((row) => row.dataset.trial === trial);
  let lit = null;

  function light(trial, { x, y } = {}) {
    if (trial !== lit) {
      document.querySelectorAll(".lit").forEach((element) => element.classList.remove("lit"));
      lit = trial;
      if (trial) {
        figures.forEach((figure) => marksOf(figure, trial).forEach((mark) => mark.classList.add("lit")));
        rowOf(trial)?.classList.add("lit");
        describe(trial);
      }
      figures.forEach((figure) => figure.classList.toggle("pointing", trial !== null));
    }
    note.hidden = trial === null || x === undefined;
    if (note.hidden) return;
    const { width, height } = note.getBoundingClientRect();
    note.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
    note.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 12) : y + 18}px`;
  }

  function describe(trial) {
    const [name, hint] = [document.createElement("b"), document.createElement("i")];
    const target = notes[trial]?.model ? "model" : rowOf(trial) && "row";
    name.textContent = `Trial ${trial}`;
    hint.textContent = target ? `Click or Enter: its ${target}.` : "";
    note.replaceChildren(name, `: ${notes[trial]?.text ?? ""}. `, hint);
  }

  // The trial at a point or up to six pixels beside it: a line is thin.
  function trialNear(x, y) {
    for (const [right, down] of [[0, 0], [3, 0], [-3, 0], [0, 3], [0, -3], [6, 0], [-6, 0], [0, 6], [0, -6]]) {
      const mark = document.elementFromPoint(x + right, y + down)?.closest(".mark:not(.out)");
      if (mark) return mark.dataset.trial;
    }
    return null;
  }

  function goTo(trial) {
    const row = rowOf(trial);
    if (notes[trial]?.model) {
      light(null);
      location.hash = notes[trial].model;
      showTarget();
    } else if (row) {
      row.hidden = false; // a filter may have hidden it
      row.tabIndex = -1;
      row.focus();
      row.scrollIntoView({ block: "center" });
      light(trial);
    }
  }

  function goOn(figure, step) {
    const inFigure = new Set([...figure.querySelectorAll(".mark:not(.out)")].map((mark) => mark.dataset.trial));
    const trials = Object.keys(notes).filter((trial) => inFigure.has(trial));
    if (!trials.length) return;
    const first = step > 0 ? 0 : trials.length - 1;
    const place = trials.indexOf(lit);
    const next = trials[place < 0 ? first : (place + step + trials.length) % trials.length];
    const box = marksOf(figure, next).at(-1).getBoundingClientRect();
    light(next, { x: box.right, y: box.bottom });
  }

  for (const figure of figures) {
    figure.addEventListener("pointermove", (event) => light(trialNear(event.clientX, event.clientY), event));
    figure.addEventListener("pointerleave", () => light(null));
    figure.addEventListener("blur", () => light(null));
    figure.addEventListener("click", (event) => {
      const trial = trialNear(event.clientX, event.clientY);
      const isFirstTouch = event.pointerType === "touch" && trial !== lit;
      if (!trial || isFirstTouch) light(trial, event);
      else goTo(trial);
    });
    figure.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) {
        event.preventDefault();
        goOn(figure, step);
      } else if (event.key === "Escape") light(null);
      else if (event.key === "Enter" && lit) goTo(lit);
    });
  }
  for (const row of rows) {
    row.addEventListener("pointerenter", () => light(row.dataset.trial));
    row.addEventListener("pointerleave", () => light(null));
    row.addEventListener("focusin", () => light(row.dataset.trial));
  }
}

// The filter keeps trials of which every phrase is said: in the row, or in words as `beta 4`.
function letReadersFilter(notes, rows) {
  const filter = document.getElementById("filter");
  const textOf = (row) => [notes[row.dataset.trial]?.text ?? "", ...[...row.cells].map((cell) => cell.textContent)];
  const plain = (text) => text.replaceAll(" = ", " ").toLowerCase();
  const texts = new Map(rows.map((row) => [row.dataset.trial, plain(textOf(row).join(" ; "))]));
  filter.addEventListener("input", () => {
    const phrases = filter.value.split(",").map((phrase) => phrase.replace(/[\s=]+/g, " ").trim().toLowerCase());
    const escaped = phrases.filter(Boolean).map((phrase) => phrase.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    // `beta 4` is in neither `beta 4.5` nor `beta 48`
    const patterns = escaped.map((phrase) => new RegExp(`(?<![\\w.])${phrase}(?![\\w.]*\\w)`));
    const isOut = (trial) => texts.has(trial) && !patterns.every((pattern) => pattern.test(texts.get(trial)));
    rows.forEach((row) => (row.hidden = isOut(row.dataset.trial)));
    document.querySelectorAll(".mark").forEach((mark) => mark.classList.toggle("out", isOut(mark.dataset.trial)));
    const num = rows.filter((row) => !row.hidden).length;
    document.getElementById("num-shown").value = patterns.length ? `${num} of ${rows.length}` : "";
  });
}

// Models that are chosen lie side by side, and the others are hidden. Returns the function that shows a link's target.
function letModelsLieSideBySide() {
  const boxes = [...document.querySelectorAll(".choose input")];

  function showModels() {
    const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
    document.querySelector(".models").classList.toggle("beside", chosen.length > 1);
    for (const model of document.querySelectorAll(".model")) {
      model.hidden = chosen.length > 0 && !chosen.includes(model.id);
    }
  }

  // A link leads to its model although others are chosen, also where the address names it already.
  function showTarget(hash = location.hash) {
    const target = document.getElementById(decodeURIComponent(hash.slice(1)));
    if (target?.hidden) {
      boxes.forEach((box) => (box.checked = false));
      showModels();
    }
    target?.scrollIntoView();
  }

  boxes.forEach((box) => box.addEventListener("change", showModels));
  if (boxes.length) showModels(); // a browser may have kept the boxes over a reload
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    link.addEventListener("click", () => showTarget(link.hash));
  }
  addEventListener("hashchange", () => showTarget());
  return showTarget;
}
