// Elements, and where they go. Texts are always texts: nothing that a job calls itself becomes markup.

export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function choices(place, options, chosen, choose) {
  place.replaceChildren(...options.map(([value, label]) => el("button", {
    ariaPressed: String(value === chosen), onclick: () => choose(value),
  }, label)));
}

export function head(columns) {
  return el("thead", {}, el("tr", {}, ...columns.map(([label, kind = "", title = ""]) =>
    el("th", { className: kind, scope: "col", title }, label))));
}
