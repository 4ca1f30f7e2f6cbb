// Questions to this collector.

export async function ask(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const answer = await fetch(`/api/v1/${path}?${new URLSearchParams(given)}`);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? `${answer.status} ${answer.statusText}`);
  return body;
}

export async function every(path, name, parameters = {}) {
  const items = [];
  let cursor = null;
  do {
    const page = await ask(path, { ...parameters, limit: 1000, cursor });
    items.push(...page[name]);
    cursor = page.next_cursor;
  } while (cursor);
  return items;
}
