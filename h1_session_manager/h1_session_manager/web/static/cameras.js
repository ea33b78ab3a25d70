// SPDX-License-Identifier: Apache-2.0
// The cameras as they come: JPEGs by a socket, each acknowledged when it is shown, so that none waits in a buffer.
const RETRY_MS = 1000;
const NAMES = { ego_cam: "head", cam_left_wrist: "left wrist", cam_right_wrist: "right wrist" };

export class Cameras {
  constructor(grid, dialog) {
    this.grid = grid;
    this.dialog = dialog;
    this.full = null;
    this.tiles = [];
    dialog.querySelector("button").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => { this.full = null; });
    document.addEventListener("visibilitychange", () => (document.hidden ? this.socket?.close() : this.connect()));
    this.connect();
  }

  // names: in the order in which the images name them by their place.
  have(names) {
    if (names.join() === this.tiles.map((tile) => tile.name).join()) return;
    this.grid.replaceChildren();
    this.tiles = names.map((name, place) => this.tile(name, place));
  }

  tile(name, place) {
    const button = document.createElement("button");
    const canvas = document.createElement("canvas");
    const label = document.createElement("span");
    button.type = "button";
    canvas.width = 640;
    canvas.height = 480;
    label.className = "label";
    const shown = NAMES[name] || name;
    label.textContent = `${shown}: no image yet`;
    button.append(canvas, label);
    button.addEventListener("click", () => { this.full = place; this.dialog.showModal(); });
    this.grid.append(button);
    return { canvas, label, name, shown, frames: 0 };
  }

  connect() {
    if (document.hidden || (this.socket && this.socket.readyState < WebSocket.CLOSING)) return;
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/images`);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = async (event) => {
      await this.draw(event.data);
      if (socket.readyState === WebSocket.OPEN) socket.send("shown");
    };
    socket.onclose = () => setTimeout(() => this.connect(), RETRY_MS);
  }

  async draw(buffer) {
    const view = new DataView(buffer);
    const work = [];
    for (let at = 0; at < buffer.byteLength; ) {
      const place = view.getUint8(at);
      const length = view.getUint32(at + 4, true);
      const jpeg = new Blob([new Uint8Array(buffer, at + 16, length)], { type: "image/jpeg" });
      work.push(this.paint(this.tiles[place], place, jpeg));
      at += 16 + length;
    }
    await Promise.allSettled(work);
  }

  async paint(tile, place, jpeg) {
    const image = await createImageBitmap(jpeg);
    for (const canvas of this.full === place ? [tile.canvas, this.dialog.querySelector("canvas")] : [tile.canvas]) {
      if (canvas.width !== image.width || canvas.height !== image.height) {
        canvas.width = image.width;
        canvas.height = image.height;
      }
      canvas.getContext("2d").drawImage(image, 0, 0);
    }
    image.close();
    tile.frames += 1;
    tile.canvas.dataset.frames = tile.frames;
  }

  // The verdict is the recorder's; this page judges nothing itself.
  judge(recorder, age) {
    for (const tile of this.tiles) {
      const stream = recorder?.streams.find((candidate) => candidate.name === tile.name);
      let text = `${tile.shown}: the recorder has not seen it`;
      let verdict = "late";
      if (recorder && age > 2) text = `${tile.shown}: the recorder is silent`;
      else if (stream && stream.age_s >= 0) {
        verdict = stream.verdict;
        text = `${tile.shown} · ${stream.age_s.toFixed(1)} s`;
        if (verdict === "late") text += ` · LATE: ${stream.rate.toFixed(0)} Hz`;
        if (verdict === "frozen") text = `${tile.shown} · FROZEN: the same image for ${stream.age_s.toFixed(1)} s`;
        if (verdict === "absent") text = `${tile.shown} · no image for ${stream.age_s.toFixed(1)} s`;
      } else if (stream) {
        verdict = "absent";
        text = `${tile.shown}: no image yet`;
      }
      if (tile.label.textContent !== text) tile.label.textContent = text;
      tile.label.className = `label ${verdict}`;
    }
  }
}
