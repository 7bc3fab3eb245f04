/* An independent count of the equilibria of two-unit GRUs, one box at a time.
 *
 * It shares no formula with cgru_jax beyond the definition of the cell: hand-written
 * derivatives, libm, and a Hansen-Sengupta step (Gauss-Seidel on the preconditioned
 * equation) where the library uses Krawczyk's test. Every operation is widened by EPS
 * relative, several times what glibc's functions are off.
 *
 *   cc -O2 -o reference reference.c -lm
 *   reference N < parameters > counts
 *
 * parameters: N x 12 doubles, U_h by rows, U_r by rows, b_h, b_r; counts: N 32-bit
 * integers, -1 where a box stayed undecided. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define EPS 2e-15
#define STACK 4096
#define ROOTS 64
#define NARROW 1e-10
#define BUDGET 200000

typedef struct { double lo, hi; } iv;

static iv wide(double lo, double hi) {
  return (iv){lo - EPS * fabs(lo) - 1e-300, hi + EPS * fabs(hi) + 1e-300};
}
static iv add(iv a, iv b) { return wide(a.lo + b.lo, a.hi + b.hi); }
static iv sub(iv a, iv b) { return wide(a.lo - b.hi, a.hi - b.lo); }
static iv mul(iv a, iv b) {
  double p = a.lo * b.lo, q = a.lo * b.hi, r = a.hi * b.lo, s = a.hi * b.hi;
  return wide(fmin(fmin(p, q), fmin(r, s)), fmax(fmax(p, q), fmax(r, s)));
}
static iv num(double x) { return (iv){x, x}; }
static iv scale(double k, iv a) { return mul(num(k), a); }
static double sig(double x) { return 1 / (1 + exp(-x)); }
static iv sigmoid(iv a) { return wide(sig(a.lo), sig(a.hi)); }
static iv hyptan(iv a) { return wide(tanh(a.lo), tanh(a.hi)); }
/* sigma' and tanh' from the argument: even functions that fall away from zero. */
static double dsig(double x) { double e = exp(-fabs(x)); return e / ((1 + e) * (1 + e)); }
static double dtanh(double x) { double c = cosh(x); return 1 / (c * c); }
static iv hump(double (*f)(double), iv a) {
  double p = f(a.lo), q = f(a.hi), top = fmax(p, q);
  if (a.lo <= 0 && a.hi >= 0) top = f(0);
  iv w = wide(fmin(p, q), top);
  return w;
}
static int meet(iv *a, iv b) {
  if (b.lo > a->lo) a->lo = b.lo;
  if (b.hi < a->hi) a->hi = b.hi;
  return a->lo <= a->hi;
}

static void field(const double *p, iv x, iv y, iv t[2], iv J[2][2]) {
  const double *U = p, *R = p + 4, *b = p + 8, *c = p + 10;
  iv h[2] = {x, y}, u[2], du[2][2];
  for (int i = 0; i < 2; i++) {
    iv s = add(add(scale(R[2 * i], x), scale(R[2 * i + 1], y)), num(c[i]));
    iv r = sigmoid(s);
    u[i] = mul(r, h[i]);
    if (!J) continue;
    iv slope = mul(h[i], hump(dsig, s));
    for (int j = 0; j < 2; j++) {
      du[i][j] = scale(R[2 * i + j], slope);
      if (i == j) du[i][j] = add(du[i][j], r);
    }
  }
  for (int i = 0; i < 2; i++) {
    iv a = add(add(scale(U[2 * i], u[0]), scale(U[2 * i + 1], u[1])), num(b[i]));
    t[i] = hyptan(a);
    if (!J) continue;
    iv d = hump(dtanh, a);
    for (int j = 0; j < 2; j++) {
      iv g = mul(d, add(scale(U[2 * i], du[0][j]), scale(U[2 * i + 1], du[1][j])));
      J[i][j] = i == j ? sub(g, num(1)) : g;
    }
  }
}

static double mid(iv a) { return a.lo / 2 + a.hi / 2; }

/* The step on a slightly larger box: -1 no root, 1 exactly one, 0 open; `k` is where. */
static int step(const double *p, iv x, iv y, iv k[2]) {
  double rx = (x.hi - x.lo) * 0.51 + 1e-13, ry = (y.hi - y.lo) * 0.51 + 1e-13;
  double m[2] = {mid(x), mid(y)};
  iv X[2] = {{m[0] - rx, m[0] + rx}, {m[1] - ry, m[1] + ry}};
  iv t[2], f[2], J[2][2], M[2][2], z[2];
  field(p, X[0], X[1], t, J);
  iv tm[2];
  field(p, num(m[0]), num(m[1]), tm, NULL);
  for (int i = 0; i < 2; i++) {
    f[i] = sub(tm[i], num(m[i]));
    iv mean = add(f[i], add(mul(J[i][0], sub(X[0], num(m[0]))),
                            mul(J[i][1], sub(X[1], num(m[1])))));
    if (mean.lo > 0 || mean.hi < 0) return -1;
  }
  double a = mid(J[0][0]), b = mid(J[0][1]), c = mid(J[1][0]), d = mid(J[1][1]);
  double det = a * d - b * c;
  k[0] = X[0];
  k[1] = X[1];
  if (det == 0) return 0;
  double Y[2][2] = {{d / det, -b / det}, {-c / det, a / det}};
  for (int i = 0; i < 2; i++) {
    z[i] = add(scale(Y[i][0], f[0]), scale(Y[i][1], f[1]));
    for (int j = 0; j < 2; j++)
      M[i][j] = add(scale(Y[i][0], J[0][j]), scale(Y[i][1], J[1][j]));
  }
  int inside = 1;
  for (int i = 0; i < 2; i++) {
    int j = 1 - i;
    if (M[i][i].lo <= 0) return 0;
    iv top = sub(num(0), add(z[i], mul(M[i][j], sub(k[j], num(m[j])))));
    iv rec = wide(1 / M[i][i].hi, 1 / M[i][i].lo);
    iv next = add(num(m[i]), mul(top, rec));
    inside &= next.lo > X[i].lo && next.hi < X[i].hi;
    if (!meet(&k[i], next)) return -1;
  }
  return inside;
}

static int count(const double *p) {
  static iv stack[STACK][2];
  double roots[ROOTS][2];
  int top = 1, found = 0, used = 0;
  stack[0][0] = stack[0][1] = (iv){-1, 1};
  while (top) {
    iv x = stack[--top][0], y = stack[top][1], t[2], k[2];
    if (++used > BUDGET) return -1;
    field(p, x, y, t, NULL);
    if (!meet(&x, t[0]) || !meet(&y, t[1])) continue;
    int verdict = step(p, x, y, k);
    if (verdict < 0) continue;
    if (verdict > 0) {
      /* A root in the larger box that misses this one is its neighbour's. */
      for (int i = 0; i < 60; i++) {
        double before = k[0].hi - k[0].lo + k[1].hi - k[1].lo;
        iv n[2];
        if (step(p, k[0], k[1], n) < 0) break;
        if (!meet(&n[0], k[0]) || !meet(&n[1], k[1])) break;
        k[0] = n[0];
        k[1] = n[1];
        if (k[0].hi - k[0].lo + k[1].hi - k[1].lo > 0.9 * before) break;
      }
      if (k[0].hi < x.lo || k[0].lo > x.hi || k[1].hi < y.lo || k[1].lo > y.hi) continue;
      int known = 0;
      for (int i = 0; i < found; i++)
        known |= fabs(roots[i][0] - mid(k[0])) < 1e-9 && fabs(roots[i][1] - mid(k[1])) < 1e-9;
      if (known) continue;
      if (found == ROOTS) return -1;
      roots[found][0] = mid(k[0]);
      roots[found++][1] = mid(k[1]);
      continue;
    }
    if (!meet(&x, k[0]) || !meet(&y, k[1])) continue;
    int across = x.hi - x.lo > y.hi - y.lo;
    iv side = across ? x : y;
    if (side.hi - side.lo < NARROW || top + 2 > STACK) return -1;
    double cut = side.lo + 0.4871 * (side.hi - side.lo);
    for (int i = 0; i < 2; i++) {
      iv half = i ? (iv){cut, side.hi} : (iv){side.lo, cut};
      stack[top][0] = across ? half : x;
      stack[top++][1] = across ? y : half;
    }
  }
  return found;
}

int main(int argc, char **argv) {
  long n = argc > 1 ? atol(argv[1]) : 0;
  double p[12];
  for (long i = 0; i < n; i++) {
    if (fread(p, sizeof p, 1, stdin) != 1) return 1;
    int answer = count(p);
    fwrite(&answer, sizeof answer, 1, stdout);
  }
  return 0;
}
