// SPDX-License-Identifier: Apache-2.0
// Joint angles as curves: measured solid, commanded dashed, one colour a joint.
const SPAN_S = 20;
const COLOURS = ["#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d"];
export const JOINTS = ["shoulder pitch", "shoulder roll", "shoulder yaw", "elbow", "wrist roll", "wrist pitch", "wrist yaw"];

export class JointHistory {
  constructor() {
    this.samples = [];
  }

  add(arm) {
    if (!arm || this.samples.at(-1)?.stamp_s === arm.stamp_s) return;
    this.samples.push(arm);
    while (this.samples.length > 1 && arm.stamp_s - this.samples[0].stamp_s > SPAN_S) this.samples.shift();
  }

  get seconds() {
    const last = this.samples.at(-1)?.stamp_s ?? 0;
    return this.samples.map((sample) => sample.stamp_s - last + SPAN_S);
  }

  of(name, first) {
    return Array.from({ length: 7 }, (_, joint) => this.samples.map((sample) => sample[name][first + joint]));
  }
}

// canvas: drawn at its own size; solid, dashed: 7 curves over seconds; options: span (s), cursor (s or null).
export function drawCurves(canvas, seconds, solid, dashed, { span, cursor = null }) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width) return;
  if (canvas.width !== Math.round(width * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const values = [...solid.flat(), ...dashed.flat()].filter((value) => value !== null);
  const low = Math.min(-0.5, ...values);
  const high = Math.max(0.5, ...values);
  const x = (second) => 34 + (second / span) * (width - 38);
  const y = (value) => 6 + ((high - value) / (high - low)) * (height - 24);
  const colour = getComputedStyle(document.body).getPropertyValue("--soft");
  context.font = "11px system-ui";
  context.fillStyle = colour;
  context.strokeStyle = colour;
  context.lineWidth = 0.4;
  for (const tick of ticks(low, high)) {
    context.beginPath();
    context.moveTo(34, y(tick));
    context.lineTo(width, y(tick));
    context.stroke();
    context.fillText(tick.toFixed(1), 4, y(tick) + 4);
  }
  for (const [curves, dash] of [[dashed, [4, 3]], [solid, []]]) {
    context.setLineDash(dash);
    context.lineWidth = 1.5;
    curves.forEach((curve, joint) => {
      context.strokeStyle = COLOURS[joint];
      context.beginPath();
      curve.forEach((value, at) => { if (value !== null) context.lineTo(x(seconds[at]), y(value)); });
      context.stroke();
    });
  }
  context.setLineDash([]);
  if (cursor !== null) {
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x(cursor), 0);
    context.lineTo(x(cursor), height - 14);
    context.stroke();
  }
  legend(context, width, height);
}

function ticks(low, high) {
  const step = high - low > 3 ? 1 : 0.5;
  const first = Math.ceil(low / step) * step;
  return Array.from({ length: Math.floor((high - first) / step) + 1 }, (_, place) => first + place * step);
}

function legend(context, width, height) {
  const space = (width - 34) / JOINTS.length;
  JOINTS.forEach((name, joint) => {
    context.fillStyle = COLOURS[joint];
    context.fillRect(34 + joint * space, height - 8, 8, 3);
    context.fillText(space > 78 ? name : name.split(" ").map((word) => word[0]).join(""), 45 + joint * space, height - 3);
  });
}
