// SPDX-License-Identifier: Apache-2.0
// Episodes on the disk: a list by epoch, and one of them played from its file.
import { showBars } from "./bars.js";
import { drawCurves } from "./joints.js";

const CHUNK = 50;
const AHEAD = 3;
const NAMES = { ego_cam: "head", cam_left_wrist: "left wrist", cam_right_wrist: "right wrist" };
const $ = (id) => document.getElementById(id);
const address = (what, values) => `/api/${what}?${new URLSearchParams(values)}`;

const corrections = (count) => `${count} correction${count === 1 ? "" : "s"}`;

async function read(what, values) {
  const response = await fetch(address(what, values));
  if (!response.ok) throw new Error(await response.text());
  return response;
}

export class Episodes {
  constructor() {
    this.episode = null;
    this.detail = null;
    this.chunks = new Map();
    this.playing = null;
    $("refresh").addEventListener("click", () => this.refresh());
    $("play").addEventListener("click", () => this.toggle());
    $("scrubber").addEventListener("input", () => { this.pause(); this.show(Number($("scrubber").value)); });
  }

  async refresh() {
    $("list-status").textContent = "Reading ...";
    try {
      const found = await (await read("episodes", {})).json();
      $("list-status").textContent = found.length ? "" : "There is no episode here yet.";
      this.list(found);
    } catch (error) {
      $("list-status").textContent = `The episodes cannot be listed: ${error.message}`;
    }
  }

  // Of each epoch, by its number: labelled episodes, successes among them, all, and corrections.
  epochs(found) {
    const epochs = new Map();
    for (const entry of found) {
      if (entry.is_discarded || entry.failed) continue;
      const of = epochs.get(entry.epoch) ?? { labelled: 0, successes: 0, episodes: 0, corrections: 0 };
      of.labelled += entry.outcome !== "unlabeled";
      of.successes += entry.outcome === "success";
      of.episodes += 1;
      of.corrections += entry.interventions;
      epochs.set(entry.epoch, of);
    }
    return epochs;
  }

  learning(epochs) {
    const listed = [...epochs].filter(([, of]) => of.labelled).sort(([a], [b]) => a - b).slice(-20);
    showBars($("learning"), listed.map(([epoch, of]) => [epoch, of.successes / of.labelled, of.labelled]));
  }

  list(found) {
    const items = [];
    const epochs = this.epochs(found);
    this.learning(epochs);
    let epoch = null;
    for (const entry of found) {
      if (entry.epoch !== epoch) {
        epoch = entry.epoch;
        const title = document.createElement("li");
        title.className = "epoch";
        title.textContent = `Epoch ${epoch}`;
        const of = epochs.get(epoch);
        const about = document.createElement("small");
        if (of) about.textContent = `${of.successes} of ${of.labelled} labelled succeeded · ${(of.corrections / of.episodes).toFixed(1)} corrections an episode`;
        title.append(about);
        items.push(title);
      }
      items.push(this.item(entry));
    }
    $("list").replaceChildren(...items);
  }

  item(entry) {
    const item = document.createElement("li");
    const image = document.createElement("img");
    image.alt = "";
    image.loading = "lazy";
    image.src = address("thumbnail", { episode: entry.id });
    const button = document.createElement("button");
    button.type = "button";
    const name = document.createElement("strong");
    name.textContent = `Episode ${entry.number}`;
    name.className = entry.is_discarded ? "discarded" : "";
    const outcome = document.createElement("span");
    outcome.className = `outcome ${entry.outcome}`;
    outcome.textContent = entry.is_discarded ? "discarded" : entry.outcome || "unreadable";
    button.setAttribute("aria-current", this.episode?.id === entry.id);
    const about = document.createElement("small");
    const upload = entry.uploaded === null ? "" : entry.uploaded ? " · uploaded" : " · not uploaded yet";
    about.textContent = entry.failed
      ? `cannot be read: ${entry.failed}`
      : `${entry.policy_frames} policy, ${entry.human_frames} human frames · ${corrections(entry.interventions)}${upload}`;
    button.append(name, outcome, about);
    button.addEventListener("click", () => {
      for (const other of $("list").querySelectorAll("button")) other.setAttribute("aria-current", other === button);
      this.open(entry);
    });
    item.append(image, button);
    return item;
  }

  async open(entry) {
    this.pause();
    this.episode = entry;
    this.chunks.clear();
    $("player").hidden = false;
    $("player-title").textContent = `Epoch ${entry.epoch}, episode ${entry.number}`;
    $("change-status").textContent = "Reading ...";
    try {
      this.detail = await (await read("detail", { episode: entry.id })).json();
    } catch (error) {
      this.detail = null;
      $("change-status").textContent = `It cannot be read: ${error.message}`;
      return;
    }
    $("change-status").textContent = "";
    $("scrubber").max = Math.max(0, this.detail.rows - 1);
    $("scrubber").value = 0;
    this.frame();
    this.changes();
    await this.show(0);
    $("player").scrollIntoView({ block: "start" });
    $("play").focus({ preventScroll: true });
  }

  frame() {
    const { detail } = this;
    $("player-images").replaceChildren(...detail.cameras.map((camera) => {
      const box = document.createElement("div");
      const canvas = document.createElement("canvas");
      const label = document.createElement("span");
      canvas.width = 640;
      canvas.height = 480;
      label.className = "label";
      label.textContent = NAMES[camera] || camera;
      box.append(canvas, label);
      return box;
    }));
    $("bands").replaceChildren(...detail.runs.map(([first, last, phase]) => {
      const band = document.createElement("span");
      band.className = phase;
      band.style.flex = last - first;
      band.textContent = phase;
      return band;
    }));
    $("attributes").replaceChildren(...Object.entries(detail.attributes).flatMap(([name, value]) => {
      const term = document.createElement("dt");
      const description = document.createElement("dd");
      term.textContent = name;
      description.textContent = String(value).slice(0, 300);
      return [term, description];
    }));
    $("episode-events").replaceChildren(...[...detail.gaps, ...detail.events].map((event) => {
      const item = document.createElement("li");
      item.textContent = [event.source, event.text].filter(Boolean).join(": ");
      return item;
    }));
  }

  changes() {
    const choices = this.episode.is_discarded
      ? [["restore", "Restore"]]
      : [["success", "Success"], ["failure", "Failure"], ["unlabeled", "No outcome"], ["validate", "Validate"], ["discard", "Discard"]];
    $("changes").replaceChildren(...choices.map(([what, label]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.dataset.what = what;
      button.addEventListener("click", () => this.change(what, button));
      return button;
    }));
  }

  async change(what, button) {
    if (what === "discard" && button.textContent !== "Really discard?") {
      button.textContent = "Really discard?";
      return;
    }
    $("change-status").textContent = "Working ...";
    const body = JSON.stringify({ episode: this.episode.id, what });
    const response = await fetch("/api/change", { method: "POST", body }).catch((error) => error);
    const text = response instanceof Error ? `not done: ${response.message}` : await response.text();
    $("change-status").textContent = response.ok ? JSON.parse(text).message : text;
    if (response.ok && JSON.parse(text).success) {
      await this.refresh();
      if (["discard", "restore"].includes(what)) $("player").hidden = true;
      else if (what !== "validate") this.detail.attributes.outcome = what;
    }
  }

  toggle() {
    if (this.playing) return this.pause();
    const first = Number($("scrubber").value) + 1 >= this.detail.rows ? 0 : Number($("scrubber").value);
    this.playing = { first, since: performance.now() };
    $("play").textContent = "Pause";
    const step = async () => {
      if (!this.playing) return;
      const speed = Number($("speed").value);
      const row = this.playing.first + Math.floor(((performance.now() - this.playing.since) / 1000) * this.detail.fps * speed);
      await this.show(Math.min(row, this.detail.rows - 1));
      if (row >= this.detail.rows - 1) this.pause();
      else requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
    return undefined;
  }

  pause() {
    this.playing = null;
    $("play").textContent = "Play";
  }

  async show(row) {
    const { detail } = this;
    $("scrubber").value = row;
    const run = detail.runs.find(([first, last]) => row >= first && row < last);
    $("position").textContent = `row ${row + 1} of ${detail.rows}, ${run ? run[2] : ""}`;
    const seconds = detail.seconds;
    const span = Math.max(0.1, seconds.at(-1) ?? 0);
    const cursor = seconds[Math.min(seconds.length - 1, Math.floor(row / detail.stride))] ?? 0;
    for (const [side, first] of [["left", 0], ["right", 7]]) {
      drawCurves($(`${side}-curves`), seconds, detail.qpos.slice(first, first + 7), detail.applied.slice(first, first + 7), { span, cursor });
    }
    await Promise.all(detail.cameras.map((camera, place) => this.paint(camera, place, row)));
  }

  async paint(camera, place, row) {
    const chunk = await this.chunk(camera, Math.floor(row / CHUNK));
    for (let ahead = 1; ahead <= AHEAD; ahead += 1) this.chunk(camera, Math.floor(row / CHUNK) + ahead);
    if (!chunk) return;
    let shown = null;
    for (const frame of chunk) if (frame.row <= row) shown = frame;
    const canvas = $("player-images").children[place]?.firstChild;
    if (!shown || !canvas || canvas.dataset.row === String(shown.row)) return;
    const image = await createImageBitmap(shown.jpeg);
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").drawImage(image, 0, 0);
    canvas.dataset.row = shown.row;
    image.close();
  }

  chunk(camera, number) {
    const key = `${camera} ${number}`;
    if (number * CHUNK >= this.detail.rows) return Promise.resolve(null);
    if (!this.chunks.has(key)) {
      const values = { episode: this.episode.id, camera, first: number * CHUNK, count: CHUNK };
      this.chunks.set(key, read("images", values).then((response) => response.arrayBuffer()).then(split).catch(() => null));
      if (this.chunks.size > 60) this.chunks.delete(this.chunks.keys().next().value);
    }
    return this.chunks.get(key);
  }
}

function split(buffer) {
  const view = new DataView(buffer);
  const frames = [];
  for (let at = 0; at < buffer.byteLength; ) {
    const length = view.getUint32(at + 4, true);
    frames.push({ row: view.getUint32(at, true), jpeg: new Blob([new Uint8Array(buffer, at + 8, length)], { type: "image/jpeg" }) });
    at += 8 + length;
  }
  return frames;
}
