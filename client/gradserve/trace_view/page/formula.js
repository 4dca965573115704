// The chain rule as a formula: derivatives as fractions, one step a line. Text that is no formula stays text.

const LONGEST_NAME = 26;

/**
 * The parts of a chain rule: fractions, and the text between them.
 *
 * @param {string} text Such as "dL/dw2 = dL/dz2 * h1".
 * @param {{has: (name: string) => boolean}} names All names of the trace.
 * @returns {({top: string, bottom: string} | {text: string})[]}
 */
function formulaParts(text, names) {
  const parts = [];
  let from = 0;
  // A name that could be read as a formula stands in brackets: dL/d[layers/3/dense].
  for (const found of text.matchAll(/(?<![\w./:-])d(?:\[[^\]]*\]|[\w.:/-]*)\/d(?:\[[^\]]*\]|[\w.:/-]+)/g)) {
    const fraction = readFraction(found[0], names);
    if (!fraction) continue;
    if (found.index > from) parts.push({ text: text.slice(from, found.index) });
    parts.push({ top: fraction.top, bottom: fraction.bottom });
    from = found.index + fraction.length;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}

/** "dL/da/b." as L over a/b, if a/b is a name; names may hold "/" and the full stop of a sentence may follow. */
function readFraction(word, names) {
  const inBrackets = /^d(?:\[([^\]]*)\]|(\w+))\/d(?:\[([^\]]*)\]|(\w+))(?![\w/])/.exec(word);
  if (inBrackets && word.includes("[")) {
    const [top, bottom] = [inBrackets[1] ?? inBrackets[2], inBrackets[3] ?? inBrackets[4]];
    return (top === "L" || names.has(top)) && names.has(bottom) ? { top, bottom, length: inBrackets[0].length } : null;
  }
  for (let at = word.indexOf("/d"); at > 0; at = word.indexOf("/d", at + 1)) {
    const top = word.slice(1, at);
    if (top !== "L" && !names.has(top)) continue;
    for (let end = word.length; end > at + 2; end -= 1) {
      const bottom = word.slice(at + 2, end);
      if (bottom === "L" || names.has(bottom)) return { top, bottom, length: end };
      if (/[\w/]/.test(word[end - 1])) break; // Only punctuation may be left over.
    }
  }
  return null;
}

/** The lines of a chain rule: a new one before each "=" outside of brackets but the first. */
function formulaLines(parts) {
  const lines = [[]];
  let depth = 0;
  let equals = 0;
  for (const part of parts) {
    if (part.text === undefined) {
      lines.at(-1).push(part);
      continue;
    }
    let text = "";
    const put = () => {
      if (text) lines.at(-1).push({ text });
      text = "";
    };
    for (const [at, character] of [...part.text].entries()) {
      if ("([{".includes(character)) depth += 1;
      if (")]}".includes(character)) depth -= 1;
      const alone = !"=<>!".includes(part.text[at - 1] ?? " ") && part.text[at + 1] !== "=";
      if (character === "=" && alone && depth === 0 && ++equals > 1) {
        put();
        lines.push([]);
      }
      if (character === "\n") {
        put();
        lines.push([]);
        equals = 0;
      } else text += character;
    }
    put();
  }
  return lines;
}

/** A formula as elements; screen readers get the text as it was served. */
function typeset(text, names) {
  const lines = formulaLines(formulaParts(text, names)).map((line) =>
    element(
      "span",
      { class: "formula-line" },
      ...line.map((part) => (part.text === undefined ? fraction(part) : words(part.text))),
    ),
  );
  return element("div", { class: "formula", role: "img", "aria-label": text }, ...lines);
}

function fraction({ top, bottom }) {
  return element(
    "span",
    { class: "fraction", title: `d${top}/d${bottom}` },
    element("span", { class: "numerator" }, `∂${clipName(top)}`),
    element("span", {}, `∂${clipName(bottom)}`),
  );
}

/** Products as dots, minus signs as such, powers raised. */
function words(text) {
  const pretty = text
    .replaceAll(" * ", " · ")
    .replace(/(^|[\s(,=·^[])-(?=[\d.a-z(])/gi, "$1−")
    .replace(/e-(?=\d)/g, "e−");
  const pieces = pretty.split(/\^(T|−?\d+)\b/);
  return element("span", {}, ...pieces.map((piece, at) => (at % 2 ? element("sup", {}, piece) : piece)));
}

/** A name that is not too long to read, with its end, which tells most. */
function clipName(name) {
  return name.length <= LONGEST_NAME ? name : `…${name.slice(1 - LONGEST_NAME)}`;
}
