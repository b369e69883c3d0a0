// The stage on which models turn: WebGL by OGL. It draws while something moves and rests otherwise.

import { readGlb } from "./glb.js";

const FIELD_OF_VIEW_DEGREES = 28;
const MARGIN = 1.08;
const AWAKE_MILLISECONDS = 1500;
const TURNING_MILLISECONDS = 30000;
const TURN_RADIANS_PER_MILLISECOND = 0.00035;
const KEY_RADIANS = 0.12;
const VIEWS = { front: [0, 0, 1], left: [1, 0, 0], top: [0, 1, 0.001] };

const VERTEX = `#version 300 es
in vec3 position;
in vec3 normal;
uniform mat4 modelViewMatrix;
uniform mat4 projectionMatrix;
uniform mat3 normalMatrix;
out vec3 toEye;
out vec3 turned;
void main() {
  vec4 seen = modelViewMatrix * vec4(position, 1.0);
  toEye = -seen.xyz;
  turned = normalMatrix * normal;
  gl_Position = projectionMatrix * seen;
}`;
// Light from above the viewer's left shoulder, a weak one from behind, sky and ground; the inside darker.
const FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 color;
in vec3 toEye;
in vec3 turned;
out vec4 painted;
void main() {
  vec3 normal = normalize(turned) * (gl_FrontFacing ? 1.0 : -1.0);
  vec3 eye = normalize(toEye);
  vec3 key = normalize(vec3(-0.4, 0.6, 0.9));
  float light = 0.32 + 0.12 * normal.y + 0.62 * max(dot(normal, key), 0.0) + 0.12 * max(dot(normal, vec3(0.8, -0.2, -0.3)), 0.0);
  float shine = pow(max(dot(normal, normalize(key + eye)), 0.0), 36.0) * 0.16;
  vec3 linear = pow(color, vec3(2.2)) * light * (gl_FrontFacing ? 1.0 : 0.55) + shine;
  painted = vec4(pow(linear, vec3(1.0 / 2.2)), 1.0);
}`;
const LINE_VERTEX = `#version 300 es
in vec3 position;
uniform mat4 modelViewMatrix;
uniform mat4 projectionMatrix;
void main() { gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0); }`;
const LINE_FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 color;
out vec4 painted;
void main() { painted = vec4(color, 1.0); }`;
const CORNERS = [0, 1, 1, 3, 3, 2, 2, 0, 4, 5, 5, 7, 7, 6, 6, 4, 0, 4, 1, 5, 2, 6, 3, 7];
const LINE_COLOR = [0.36, 0.76, 0.84];

// Returns the stage, or null where this browser can't draw.
export async function openStage(canvas, library) {
  try {
    const ogl = await import(library);
    return new Stage(canvas, ogl);
  } catch (fault) {
    console.warn("no stage for models:", fault.message);
    return null;
  }
}

class Stage {
  constructor(canvas, ogl) {
    this.ogl = ogl;
    this.canvas = canvas;
    this.renderer = new ogl.Renderer({ canvas, dpr: Math.min(devicePixelRatio, 2), alpha: true, antialias: true });
    this.gl = this.renderer.gl;
    this.gl.clearColor(0, 0, 0, 0);
    this.camera = new ogl.Camera(this.gl, { fov: FIELD_OF_VIEW_DEGREES });
    this.camera.position.set(0, 0, 1);
    this.orbit = new ogl.Orbit(this.camera, { element: canvas, ease: 0.35, inertia: 0.7, rotateSpeed: 0.2 });
    this.table = new ogl.Transform();
    this.parts = [];
    this.lines = null;
    this.bounds = null;
    this.turnsUntil = 0;
    this.awakeUntil = 0;
    this.isDrawing = false;
    this.listen();
    this.fit();
  }

  // Shows the model of a GLB file; the first one, or one of another size, is brought into view.
  show(buffer) {
    const parts = readGlb(buffer);
    this.clear();
    for (const part of parts) {
      const geometry = new this.ogl.Geometry(this.gl, {
        position: { size: 3, data: part.position },
        normal: { size: 3, data: part.normal },
        index: { data: part.index },
      });
      const uniforms = { color: { value: part.color.map(encoded) } };
      const program = new this.ogl.Program(this.gl, { vertex: VERTEX, fragment: FRAGMENT, uniforms, cullFace: false });
      const mesh = new this.ogl.Mesh(this.gl, { geometry, program });
      mesh.setParent(this.table);
      this.parts.push(mesh);
    }
    const bounds = boundsOf(parts);
    const isFirst = this.bounds === null;
    this.bounds = bounds;
    if (isFirst && bounds) {
      this.look("front");
      this.turn();
    }
    this.canvas.dataset.triangles = parts.reduce((sum, part) => sum + part.index.length / 3, 0);
    this.wake();
  }

  clear() {
    for (const mesh of this.parts) {
      mesh.setParent(null);
      mesh.geometry.remove();
      mesh.program.remove();
    }
    this.parts = [];
  }

  // Draws a box, ranges in meters as the model has them; null for none.
  box(low, high) {
    this.lines?.setParent(null);
    this.lines?.geometry.remove();
    this.lines = null;
    if (low) {
      const data = new Float32Array(CORNERS.flatMap((corner) => [0, 1, 2].map((axis) => ((corner >> axis) & 1 ? high : low)[axis])));
      const geometry = new this.ogl.Geometry(this.gl, { position: { size: 3, data } });
      const program = new this.ogl.Program(this.gl, { vertex: LINE_VERTEX, fragment: LINE_FRAGMENT, uniforms: { color: { value: LINE_COLOR } } });
      this.lines = new this.ogl.Mesh(this.gl, { geometry, program, mode: this.gl.LINES });
      this.lines.setParent(this.table);
    }
    this.wake();
  }

  // Looks from a side of the patient at the whole model.
  look(view) {
    if (!this.bounds) return;
    const [low, high] = this.bounds;
    const center = low.map((value, axis) => (value + high[axis]) / 2);
    const distance = this.farEnough(low.map((value, axis) => (high[axis] - value) / 2));
    this.turnsUntil = 0;
    this.table.rotation.y = 0;
    // The table turns around its own middle.
    this.table.position.set(0, 0, 0);
    for (const mesh of [...this.table.children]) mesh.position.set(...center.map((value) => -value));
    this.center = center;
    this.camera.perspective({ near: distance / 200, far: distance * 20 });
    this.orbit.target.set(0, 0, 0);
    this.camera.position.set(...VIEWS[view].map((value) => value * distance));
    this.orbit.forcePosition();
    this.wake();
  }

  // How far the eye must be for a box of these half edges, whichever way it is turned on its table.
  farEnough([x, y, z]) {
    const slope = Math.tan((FIELD_OF_VIEW_DEGREES * Math.PI) / 360);
    const around = Math.hypot(x, z);
    const aspect = this.canvas.clientWidth / Math.max(this.canvas.clientHeight, 1);
    return Math.max(y / slope, around / slope / aspect) * MARGIN + around;
  }

  turn() {
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.turnsUntil = performance.now() + TURNING_MILLISECONDS;
    }
  }

  wake() {
    this.awakeUntil = performance.now() + AWAKE_MILLISECONDS;
    if (!this.isDrawing) {
      this.isDrawing = true;
      this.last = performance.now();
      requestAnimationFrame((moment) => this.draw(moment));
    }
  }

  draw(moment) {
    const turns = moment < this.turnsUntil;
    if (turns) {
      this.table.rotation.y += (moment - this.last) * TURN_RADIANS_PER_MILLISECOND;
    }
    this.last = moment;
    for (const mesh of this.table.children) {
      mesh.position.set(...(this.center ?? [0, 0, 0]).map((value) => -value));
    }
    this.orbit.update();
    this.renderer.render({ scene: this.table, camera: this.camera });
    this.isDrawing = (turns || moment < this.awakeUntil) && !document.hidden && this.canvas.isConnected;
    if (this.isDrawing) {
      requestAnimationFrame((next) => this.draw(next));
    }
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (width && height) {
      this.renderer.setSize(width, height);
      this.camera.perspective({ aspect: width / height });
      this.wake();
    }
  }

  listen() {
    new ResizeObserver(() => this.fit()).observe(this.canvas.parentElement);
    document.addEventListener("visibilitychange", () => document.hidden || this.wake());
    for (const kind of ["pointerdown", "wheel", "touchstart"]) {
      this.canvas.addEventListener(kind, () => { this.turnsUntil = 0; this.wake(); }, { passive: true });
    }
    for (const kind of ["pointermove", "touchmove"]) {
      this.canvas.addEventListener(kind, (event) => (event.buttons || event.touches) && this.wake(), { passive: true });
    }
    this.canvas.addEventListener("keydown", (event) => this.press(event));
  }

  press(event) {
    const turns = { ArrowLeft: [-KEY_RADIANS, 0], ArrowRight: [KEY_RADIANS, 0], ArrowUp: [0, -KEY_RADIANS], ArrowDown: [0, KEY_RADIANS] };
    const nearer = { "+": 0.9, "-": 1.1 };
    if (!(event.key in turns) && !(event.key in nearer)) return;
    event.preventDefault();
    event.stopPropagation();
    this.turnsUntil = 0;
    const [around, over] = turns[event.key] ?? [0, 0];
    this.table.rotation.y += around;
    const { x, y, z } = this.camera.position;
    const distance = Math.hypot(x, y, z) * (nearer[event.key] ?? 1);
    const polar = Math.min(Math.max(Math.acos(y / Math.hypot(x, y, z)) + over, 0.01), Math.PI - 0.01);
    const azimuth = Math.atan2(x, z);
    this.camera.position.set(
      distance * Math.sin(polar) * Math.sin(azimuth), distance * Math.cos(polar), distance * Math.sin(polar) * Math.cos(azimuth),
    );
    this.orbit.forcePosition();
    this.wake();
  }
}

// glTF's colors are linear, the shader takes them as a screen shows them.
function encoded(value) {
  return value <= 0.0031308 ? value * 12.92 : 1.055 * value ** (1 / 2.4) - 0.055;
}

function boundsOf(parts) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (const { position } of parts) {
    for (let at = 0; at < position.length; at += 3) {
      for (let axis = 0; axis < 3; axis += 1) {
        const value = position[at + axis];
        if (value < low[axis]) low[axis] = value;
        if (value > high[axis]) high[axis] = value;
      }
    }
  }
  return low[0] <= high[0] ? [low, high] : null;
}
