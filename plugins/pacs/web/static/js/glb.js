// Reads the binary glTF files (2.0) that this server writes: triangles in parts with a name and a color, no textures.

const MAGIC = 0x46546c67;
const JSON_CHUNK = 0x4e4f534a;
const BINARY_CHUNK = 0x004e4942;
const ARRAYS = { 5120: Int8Array, 5121: Uint8Array, 5122: Int16Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };
const SIZES = { SCALAR: 1, VEC3: 3, VEC4: 4 };
const WHITE = [1, 1, 1, 1];

// Returns the parts: { name, color: [r, g, b], position, normal, index }, in meters, Y up; normals of any length.
export function readGlb(buffer) {
  const { json, binary } = chunks(buffer);
  const parts = [];
  const visit = (number, above) => {
    const node = json.nodes[number];
    const matrix = multiply(above, matrixOf(node));
    for (const primitive of json.meshes?.[node.mesh]?.primitives ?? []) {
      const material = json.materials?.[primitive.material];
      const position = Float32Array.from(values(json, binary, primitive.attributes.POSITION));
      const normal = Float32Array.from(values(json, binary, primitive.attributes.NORMAL));
      transform(position, matrix, 1);
      transform(normal, matrix, 0);
      parts.push({
        name: json.meshes[node.mesh].name ?? node.name ?? "",
        color: (material?.pbrMetallicRoughness?.baseColorFactor ?? WHITE).slice(0, 3),
        position,
        normal,
        index: Uint32Array.from(values(json, binary, primitive.indices)),
      });
    }
    for (const child of node.children ?? []) {
      visit(child, matrix);
    }
  };
  for (const number of json.scenes[json.scene ?? 0].nodes ?? []) {
    visit(number, IDENTITY);
  }
  return parts;
}

const IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

function chunks(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== 2) {
    throw new Error("not a binary glTF file of version 2");
  }
  const found = {};
  for (let at = 12; at < buffer.byteLength; at += 8 + view.getUint32(at, true)) {
    found[view.getUint32(at + 4, true)] = new Uint8Array(buffer, at + 8, view.getUint32(at, true));
  }
  return { json: JSON.parse(new TextDecoder().decode(found[JSON_CHUNK])), binary: found[BINARY_CHUNK] };
}

function values(json, binary, number) {
  const accessor = json.accessors[number];
  const view = json.bufferViews[accessor.bufferView];
  const size = SIZES[accessor.type];
  const Kind = ARRAYS[accessor.componentType];
  const start = binary.byteOffset + (view.byteOffset ?? 0) + (accessor.byteOffset ?? 0);
  const stride = view.byteStride ?? size * Kind.BYTES_PER_ELEMENT;
  const limit = { 5121: 255, 5123: 65535, 5120: 127, 5122: 32767 }[accessor.componentType];
  const scale = accessor.normalized && limit ? 1 / limit : 1;
  if (stride === size * Kind.BYTES_PER_ELEMENT && scale === 1) {
    return new Kind(binary.buffer, start, accessor.count * size);
  }
  const found = new Float32Array(accessor.count * size);
  for (let at = 0; at < accessor.count; at += 1) {
    const element = new Kind(binary.buffer, start + at * stride, size);
    for (let place = 0; place < size; place += 1) {
      found[at * size + place] = element[place] * scale;
    }
  }
  return found;
}

function matrixOf({ matrix, translation: [tx, ty, tz] = [0, 0, 0], rotation: [x, y, z, w] = [0, 0, 0, 1], scale: [sx, sy, sz] = [1, 1, 1] }) {
  return matrix ?? [
    (1 - 2 * (y * y + z * z)) * sx, 2 * (x * y + w * z) * sx, 2 * (x * z - w * y) * sx, 0,
    2 * (x * y - w * z) * sy, (1 - 2 * (x * x + z * z)) * sy, 2 * (y * z + w * x) * sy, 0,
    2 * (x * z + w * y) * sz, 2 * (y * z - w * x) * sz, (1 - 2 * (x * x + y * y)) * sz, 0,
    tx, ty, tz, 1,
  ];
}

function multiply(a, b) {
  const product = new Array(16);
  for (let column = 0; column < 4; column += 1) {
    for (let row = 0; row < 4; row += 1) {
      product[column * 4 + row] = [0, 1, 2, 3].reduce((sum, k) => sum + a[k * 4 + row] * b[column * 4 + k], 0);
    }
  }
  return product;
}

// Weight 1 for places, 0 for directions.
function transform(position, m, weight) {
  for (let at = 0; at < position.length; at += 3) {
    const [x, y, z] = [position[at], position[at + 1], position[at + 2]];
    position[at] = m[0] * x + m[4] * y + m[8] * z + weight * m[12];
    position[at + 1] = m[1] * x + m[5] * y + m[9] * z + weight * m[13];
    position[at + 2] = m[2] * x + m[6] * y + m[10] * z + weight * m[14];
  }
}
