// SPDX-License-Identifier: Apache-2.0
// The session's requests as buttons. One that makes arms move is held for 0.7 s, by finger, mouse or key; a screen
// reader's click cannot be held, so it asks a second time.
const HOLD_MS = 700;
const CONFIRM_MS = 5000;
const NO_KEY_BY_THEMSELVES = ["Shift", "Control", "Alt", "AltGraph", "Meta", "CapsLock", "Tab"];

export class Buttons {
  constructor(element, ask) {
    this.element = element;
    this.ask = ask;
    this.state = "";
    this.made = new Map();
    this.held = null;
    this.confirming = null;
  }

  // list: {key, request, label, moves, confirmation}; only a page that drives may press them. One that stays in the
  // list stays the same element: a finger on it, or the focus, is not lost because another comes or goes.
  show(list, mayPress, state = "") {
    if (state !== this.state) {
      this.release();
      this.confirming = null;
      this.made.clear();
      this.element.replaceChildren();
    }
    this.state = state;
    const wanted = new Map(list.map((button) => [JSON.stringify(button), button]));
    for (const [shown, made] of this.made) {
      if (wanted.has(shown)) continue;
      if (this.held?.made === made) this.release();
      made.remove();
      this.made.delete(shown);
    }
    let place = 0;
    for (const [shown, button] of wanted) {
      if (!this.made.has(shown)) this.made.set(shown, this.make(button));
      const made = this.made.get(shown);
      if (made.disabled === mayPress) made.disabled = !mayPress;
      if (!mayPress && this.held?.made === made) this.release();
      if (this.element.children[place] !== made) this.element.insertBefore(made, this.element.children[place] ?? null);
      place += 1;
    }
  }

  make(button) {
    const made = document.createElement("button");
    made.type = "button";
    made.dataset.request = button.request;
    made.dataset.key = button.key;
    made.classList.toggle("moves", button.moves);
    const key = document.createElement("b");
    key.textContent = button.key;
    const label = document.createElement("span");
    label.textContent = button.label.charAt(0).toUpperCase() + button.label.slice(1);
    made.append(key, label);
    const needs = button.moves ? "The arms move: hold for 0.7 s" : button.confirmation ? "press twice" : "";
    if (needs) {
      const hint = document.createElement("small");
      hint.textContent = needs;
      label.append(hint);
    }
    if (button.moves) {
      const fill = document.createElement("span");
      fill.className = "fill";
      made.append(fill);
      made.addEventListener("pointerdown", (event) => { made.setPointerCapture?.(event.pointerId); this.hold(made); });
      for (const name of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) made.addEventListener(name, () => this.release());
      made.addEventListener("contextmenu", (event) => event.preventDefault());
      made.addEventListener("keydown", (event) => { if ((event.key === "Enter" || event.key === " ") && !event.repeat) { event.preventDefault(); this.hold(made); } });
      made.addEventListener("keyup", () => this.release());
      made.addEventListener("click", (event) => { if (event.detail === 0 && !event.pointerType) this.confirm(made); });
    } else {
      made.addEventListener("click", () => (button.confirmation ? this.confirm(made) : this.ask(button.request)));
    }
    return made;
  }

  hold(made) {
    if (made.disabled || this.held) return;
    made.classList.add("held");
    this.held = { made, timer: setTimeout(() => { this.release(); this.ask(made.dataset.request); }, HOLD_MS) };
  }

  release() {
    if (!this.held) return;
    clearTimeout(this.held.timer);
    this.held.made.classList.remove("held");
    this.held = null;
  }

  confirm(made) {
    if (made.disabled) return;
    if (this.confirming === made) {
      this.confirming = null;
      made.querySelector("small").textContent = "asked";
      this.ask(made.dataset.request);
      return;
    }
    this.confirming = made;
    const hint = made.querySelector("small");
    const before = hint.textContent;
    hint.textContent = "press once more to confirm";
    setTimeout(() => { if (this.confirming === made) { this.confirming = null; hint.textContent = before; } }, CONFIRM_MS);
  }

  keyDown(event) {
    const any = this.element.querySelector('[data-key="any"]:not(:disabled)');
    if (any && !NO_KEY_BY_THEMSELVES.includes(event.key)) {
      event.preventDefault();
      return this.ask(any.dataset.request);
    }
    if (event.key.length !== 1) return undefined;
    const made = [...this.element.children].find((child) => child.dataset.key === event.key.toLowerCase() && !child.disabled);
    if (!made) return undefined;
    event.preventDefault();
    if (made.classList.contains("moves")) return this.hold(made);
    return made.click();
  }

  keyUp(event) {
    if (this.held && this.held.made.dataset.key === event.key.toLowerCase()) this.release();
  }
}
