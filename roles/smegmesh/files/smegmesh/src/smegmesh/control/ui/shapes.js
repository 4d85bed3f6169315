/** How a node is drawn: a shape for its role, a filling for its liveness, both beside the colour. In WebGL. */

const { NodeProgram } = Sigma.rendering;
const { FLOAT, UNSIGNED_BYTE, POINTS } = WebGLRenderingContext;

export const SHAPES = ["square", "circle", "diamond", "triangle", "hexagon", "bar"];
export const FILLINGS = ["full", "half", "crossed"];

const VERTEX = /* glsl */ `
attribute vec4 a_id;
attribute vec4 a_color;
attribute vec2 a_position;
attribute float a_size;
attribute float a_look;
uniform float u_sizeRatio;
uniform float u_pixelRatio;
uniform mat3 u_matrix;
varying vec4 v_color;
varying float v_look;
varying float v_pixel;
void main() {
  gl_Position = vec4((u_matrix * vec3(a_position, 1)).xy, 0, 1);
  gl_PointSize = max(a_size / u_sizeRatio * u_pixelRatio * 2.0, 3.0);
  v_pixel = 2.0 / gl_PointSize;
  v_look = a_look;
  #ifdef PICKING_MODE
  v_color = a_id;
  #else
  v_color = a_color;
  #endif
  v_color.a *= 255.0 / 254.0;
}`;

// Distances to the border of a shape, less than 0 within it, in a square from -1 to 1.
const FRAGMENT = /* glsl */ `
precision mediump float;
varying vec4 v_color;
varying float v_look;
varying float v_pixel;
float border(float shape, vec2 p) {
  if (shape < 0.5) return max(abs(p.x), abs(p.y)) - 0.75;
  if (shape < 1.5) return length(p) - 0.9;
  if (shape < 2.5) return (abs(p.x) + abs(p.y)) * 0.7071 - 0.68;
  if (shape < 3.5) return max(abs(p.x) * 0.866 - p.y * 0.5 - 0.45, p.y - 0.6);
  if (shape < 4.5) return max(abs(p.x) * 0.866 + abs(p.y) * 0.5, abs(p.y)) - 0.8;
  return max(abs(p.x) - 0.95, abs(p.y) - 0.4);
}
void main() {
  vec2 p = gl_PointCoord * 2.0 - 1.0;
  float filling = floor(v_look / 8.0);
  float outside = border(v_look - filling * 8.0, p);
  #ifdef PICKING_MODE
  gl_FragColor = outside < 0.0 ? v_color : vec4(0.0);
  #else
  float line = max(0.22, v_pixel * 1.5);
  float empty = -1.0;
  if (filling > 0.5) empty = min(-outside - line, 1.0);
  if (filling > 0.5 && filling < 1.5) empty = min(empty, p.x);
  if (filling > 1.5) empty = min(empty, min(abs(p.x - p.y), abs(p.x + p.y)) * 0.7071 - line * 0.5);
  float part = clamp(0.5 - max(outside, empty) / v_pixel, 0.0, 1.0);
  gl_FragColor = v_color * part;
  #endif
}`;

export class ShapeProgram extends NodeProgram {
  getDefinition() {
    return {
      VERTICES: 1,
      VERTEX_SHADER_SOURCE: VERTEX,
      FRAGMENT_SHADER_SOURCE: FRAGMENT,
      METHOD: POINTS,
      UNIFORMS: ["u_sizeRatio", "u_pixelRatio", "u_matrix"],
      ATTRIBUTES: [
        { name: "a_position", size: 2, type: FLOAT },
        { name: "a_size", size: 1, type: FLOAT },
        { name: "a_look", size: 1, type: FLOAT },
        { name: "a_color", size: 4, type: UNSIGNED_BYTE, normalized: true },
        { name: "a_id", size: 4, type: UNSIGNED_BYTE, normalized: true },
      ],
    };
  }

  processVisibleItem(id, at, node) {
    const look = SHAPES.indexOf(node.shape) + 8 * FILLINGS.indexOf(node.filling);
    this.array.set([node.x, node.y, node.size, look, Sigma.utils.floatColor(node.color), id], at);
  }

  setUniforms({ sizeRatio, pixelRatio, matrix }, { gl, uniformLocations }) {
    gl.uniform1f(uniformLocations.u_sizeRatio, sizeRatio);
    gl.uniform1f(uniformLocations.u_pixelRatio, pixelRatio);
    gl.uniformMatrix3fv(uniformLocations.u_matrix, false, matrix);
  }
}
