/* Fused training of reasoning-layer ensembles on a CPU.
 *
 * One vector register holds one scalar of LANES replicas, so the code below reads like the training of a single
 * replica and no lane can influence another. Everything that differs between replicas (training rows, order of rows,
 * steps k, step size, learning rate, weight decay) is data; the shapes INPUTS and DIM are fixed when this is compiled,
 * the hidden width when it is called. The torch code in networks/reasoning.py and training/fit.py is the readable twin
 * that the tests compare with; the equations are those of specs in docs/reasoning.md.
 *
 * A row of the population, padded to a multiple of LANES floats:
 *   filter layer:  x[INPUTS] c[DIM] y*[DIM] e*[DIM-2]            in the eigenbasis
 *   RNN layer:     x[INPUTS] q[DIM][DIM] b[DIM] y*[DIM] e*[DIM-2]
 * Eigenvalues are ordered [L, learned ..., mu].
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#ifdef __SSE__
#include <xmmintrin.h>
/* Residuals and moments decay into subnormal numbers, which cost a hundred times more: flush them to zero. */
static uint32_t flush_subnormals(void)
{
    uint32_t before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
}
static void restore_float_mode(uint32_t mode) { _mm_setcsr(mode); }
#else
static uint32_t flush_subnormals(void) { return 0; }
static void restore_float_mode(uint32_t mode) { (void)mode; }
#endif
#define SAMPLES 5 /* rows handled together: weights are read once for all of them */
#define MID (DIM - 2)
#define CELL (2 * DIM)
#define RNN_PARAMETERS (3 * CELL * CELL + DIM * CELL)

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
typedef double vd __attribute__((vector_size(LANES * 8)));

typedef struct {
    int32_t rows, batch, hidden, recurrent, accelerated, adam, row_floats, parameters, max_steps;
    float strong_convexity, smoothness;
    const float *population;       /* [N][row_floats] */
    const int32_t *train_index;    /* [LANES][rows] */
    const uint64_t *order_key;     /* [LANES] */
    const int32_t *steps;          /* [LANES] */
    const float *step_low, *step_high, *step_size, *learn_step; /* [LANES] */
    const float *learning_rate, *weight_decay;                  /* [LANES] */
    float *weights, *moment1, *moment2, *best_weights;          /* [parameters][LANES] */
    float *best_loss;              /* [LANES] */
    int32_t *best_epoch, *diverged_epoch; /* [LANES] */
    const int32_t *curve_slot;     /* [last_epoch + 1], -1: not kept */
    float *curve;                  /* [slots][LANES] */
} Run;

int32_t lanes(void) { return LANES; }
int32_t run_bytes(void) { return (int32_t)sizeof(Run); }

static inline vf splat(float value) { return value - (vf){0}; }
static inline vf load(const float *from) { vf v; memcpy(&v, from, sizeof v); return v; }
static inline void store(float *to, vf v) { memcpy(to, &v, sizeof v); }
static inline vf choose(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
/* written so that NaN passes through: comparisons with NaN are false */
static inline vf relu(vf x) { return choose(x < 0.0f, splat(0), x); }
static inline vf larger(vf a, vf b) { return choose(a < b, b, a); }
static inline vf magnitude(vf x) { return choose(x < 0.0f, -x, x); }
static inline vf root(vf x)
{
    vf y;
    for (int l = 0; l < LANES; l++) y[l] = __builtin_sqrtf(x[l]);
    return y;
}

/* exp by 2^n exp(r), |r| <= ln 2 / 2, Taylor polynomial of degree 7: relative error below 2e-7. */
static inline vf exponential(vf x)
{
    x = choose(x < -87.0f, splat(-87.0f), x);
    x = choose(x > 88.0f, splat(88.0f), x);
    const vf shifter = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    vf n = (x * 1.44269504f + shifter) - shifter;
    vf r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vf p = splat(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    vi bits = (__builtin_convertvector(n, vi) + 127) << 23;
    vf scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* ---- order of rows: a Fisher-Yates shuffle from a counter-based generator, the twin of data/streams.py ---- */
static inline uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static void shuffle(int32_t *order, const int32_t *index, int rows, uint64_t key, uint64_t epoch)
{
    memcpy(order, index, sizeof(int32_t) * (size_t)rows);
    for (int i = rows - 1; i > 0; i--) {
        uint64_t h = mix(key + (epoch * (uint64_t)rows + (uint64_t)i + 1) * 0x9e3779b97f4a7c15ULL);
        int j = (int)(((h >> 32) * (uint64_t)(i + 1)) >> 32);
        int32_t t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}

/* ---- rows of LANES replicas, transposed so that each column is one vector ---- */
#if LANES == 16
#define EACH_LANE(f, half) \
    f(0, half), f(1, half), f(2, half), f(3, half), f(4, half), f(5, half), f(6, half), f(7, half), f(8, half), \
    f(9, half), f(10, half), f(11, half), f(12, half), f(13, half), f(14, half), f(15, half)
#else
#define EACH_LANE(f, half) \
    f(0, half), f(1, half), f(2, half), f(3, half), f(4, half), f(5, half), f(6, half), f(7, half)
#endif
#define LOW(l, half) ((l) & (half) ? LANES + (l) - (half) : (l))
#define HIGH(l, half) ((l) & (half) ? LANES + (l) : (l) + (half))
#ifdef __clang__ /* lanes of a and b by constants: the two compilers have different names for it */
#define SHUFFLE(a, b, f, half) __builtin_shufflevector(a, b, EACH_LANE(f, half))
#else
#define SHUFFLE(a, b, f, half) __builtin_shuffle(a, b, (vi){EACH_LANE(f, half)})
#endif
#define EXCHANGE(block, half) \
    _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) if (!(i & (half))) { \
        vf a = block[i], b = block[i + (half)]; \
        block[i] = SHUFFLE(a, b, LOW, half); \
        block[i + (half)] = SHUFFLE(a, b, HIGH, half); \
    }

static inline __attribute__((always_inline)) void transpose(vf block[LANES])
{
#if LANES == 16
    EXCHANGE(block, 8)
#endif
    EXCHANGE(block, 4)
    EXCHANGE(block, 2)
    EXCHANGE(block, 1)
}

#define ROW_MAX (((INPUTS + DIM * DIM + 3 * DIM) / LANES + 1) * LANES)
typedef struct { vf column[ROW_MAX][SAMPLES]; vf weight[SAMPLES]; } Rows;

static void gather(Rows *out, const Run *run, const int32_t *const index[LANES], int first, int last)
{
    for (int s = 0; s < SAMPLES; s++) {
        int at = first + s < last ? first + s : last - 1; /* a short block repeats a row with weight 0 */
        out->weight[s] = splat(first + s < last ? 1.0f : 0.0f);
        for (int start = 0; start < run->row_floats; start += LANES) {
            vf block[LANES];
            for (int l = 0; l < LANES; l++)
                block[l] = load(run->population + (size_t)index[l][at] * (size_t)run->row_floats + start);
            transpose(block);
            for (int c = 0; c < LANES; c++) out->column[start + c][s] = block[c];
        }
    }
}

/* ---- the eigenvalue net: x -> hidden -> MID, softmax scaled to (mu, L) ---- */
typedef struct { const vf *w1, *b1, *w2, *b2, *layer; } Weights;
typedef struct { vf *w1, *b1, *w2, *b2, *layer; } Gradients;

static Weights split(const float *all, int hidden)
{
    const vf *p = (const vf *)all;
    int fan = hidden ? hidden : INPUTS;
    Weights w = {p, p + hidden * INPUTS, p + hidden * (INPUTS + 1), 0, 0};
    w.b2 = w.w2 + MID * fan;
    w.layer = w.b2 + MID;
    return w;
}

typedef struct { vf softmax[MID][SAMPLES], eigenvalue[MID][SAMPLES]; } Energies;

static void net_forward(const Run *run, const Weights *w, const Rows *rows, vf (*hidden)[SAMPLES], Energies *out)
{
    const vf(*input)[SAMPLES] = rows->column;
    int fan = INPUTS;
    for (int j = 0; j < run->hidden; j++) {
        vf sum[SAMPLES];
        for (int s = 0; s < SAMPLES; s++) sum[s] = w->b1[j];
        for (int i = 0; i < INPUTS; i++)
            for (int s = 0; s < SAMPLES; s++) sum[s] += w->w1[j * INPUTS + i] * rows->column[i][s];
        for (int s = 0; s < SAMPLES; s++) hidden[j][s] = relu(sum[s]);
    }
    if (run->hidden) input = (const vf(*)[SAMPLES])hidden, fan = run->hidden;
    vf z[MID][SAMPLES];
    for (int m = 0; m < MID; m++)
        for (int s = 0; s < SAMPLES; s++) z[m][s] = w->b2[m];
    for (int j = 0; j < fan; j++)
        for (int m = 0; m < MID; m++)
            for (int s = 0; s < SAMPLES; s++) z[m][s] += w->w2[m * fan + j] * input[j][s];
    for (int s = 0; s < SAMPLES; s++) {
        vf top = z[0][s], total = splat(0);
        for (int m = 1; m < MID; m++) top = larger(top, z[m][s]);
        for (int m = 0; m < MID; m++) total += out->softmax[m][s] = exponential(z[m][s] - top);
        vf inverse = 1.0f / total;
        for (int m = 0; m < MID; m++) {
            out->softmax[m][s] *= inverse;
            out->eigenvalue[m][s] =
                run->strong_convexity + (run->smoothness - run->strong_convexity) * out->softmax[m][s];
        }
    }
}

/* slope: d loss / d eigenvalue, already weighted; adds to the gradients */
static void net_backward(const Run *run, const Weights *w, const Rows *rows, const vf (*hidden)[SAMPLES],
                         const Energies *energy, const vf slope[MID][SAMPLES], Gradients *g)
{
    int fan = run->hidden ? run->hidden : INPUTS;
    const vf(*input)[SAMPLES] = run->hidden ? hidden : rows->column;
    vf dz[MID][SAMPLES];
    for (int s = 0; s < SAMPLES; s++) {
        vf mean = splat(0);
        for (int m = 0; m < MID; m++) mean += slope[m][s] * energy->softmax[m][s];
        for (int m = 0; m < MID; m++)
            dz[m][s] = (run->smoothness - run->strong_convexity) * energy->softmax[m][s] * (slope[m][s] - mean);
    }
    for (int m = 0; m < MID; m++) {
        vf sum = g->b2[m];
        for (int s = 0; s < SAMPLES; s++) sum += dz[m][s];
        g->b2[m] = sum;
    }
    for (int j = 0; j < fan; j++) {
        for (int m = 0; m < MID; m++) {
            vf sum = g->w2[m * fan + j];
            for (int s = 0; s < SAMPLES; s++) sum += dz[m][s] * input[j][s];
            g->w2[m * fan + j] = sum;
        }
        if (!run->hidden) continue;
        vf dh[SAMPLES], bias = g->b1[j];
        for (int s = 0; s < SAMPLES; s++) {
            vf sum = splat(0);
            for (int m = 0; m < MID; m++) sum += w->w2[m * fan + j] * dz[m][s];
            dh[s] = choose(hidden[j][s] > 0.0f, sum, splat(0));
            bias += dh[s];
        }
        g->b1[j] = bias;
        for (int i = 0; i < INPUTS; i++) {
            vf sum = g->w1[j * INPUTS + i];
            for (int s = 0; s < SAMPLES; s++) sum += dh[s] * rows->column[i][s];
            g->w1[j * INPUTS + i] = sum;
        }
    }
}

/* ---- the filter layer: y_k = q p_k(e) c for GD and NAG ---- */
typedef struct { vf size, size_slope, momentum, momentum_slope; int any_learned; } Step; /* slopes: d/d logit, d/d s */

static Step step_now(const Run *run, vf logit)
{
    Step step;
    vf low = load(run->step_low), high = load(run->step_high), learn = load(run->learn_step);
    vf gate = 1.0f / (1.0f + exponential(-logit));
    step.size = choose(learn > 0.0f, low + (high - low) * gate, load(run->step_size));
    step.size_slope = learn * (high - low) * gate * (1.0f - gate);
    step.any_learned = 0;
    for (int l = 0; l < LANES; l++) step.any_learned |= learn[l] > 0.0f;
    step.momentum = step.momentum_slope = splat(0);
    if (run->accelerated) {
        vf u = root(run->strong_convexity * step.size);
        step.momentum = (1.0f - u) / (1.0f + u);
        step.momentum_slope = -u / (step.size * (1.0f + u) * (1.0f + u));
    }
    return step;
}

typedef struct { vf value, by_eigenvalue, by_step; } Filter;

/* p_k(e), its slopes in e and in s, by the recurrence of the residual r = 1 - e p:
 * r+ = (1 - s e) ((1 + a) r - a r-), r_0 = r_-1 = 1. Lanes with fewer steps keep what they had at their k. */
static inline Filter filter(const Run *run, const Step *step, vf e, int with_step)
{
    vf one = splat(1), zero = splat(0);
    vf beta = 1.0f - step->size * e, a = step->momentum;
    vf r = one, r_old = one, re = zero, re_old = zero, rs = zero, rs_old = zero;
    vf r_out = one, re_out = zero, rs_out = zero;
    vi steps;
    memcpy(&steps, run->steps, sizeof steps);
    for (int k = 1; k <= run->max_steps; k++) {
        vf t = r, te = re;
        if (run->accelerated) {
            t = r + a * (r - r_old);
            te = re + a * (re - re_old);
        }
        vf re_new = beta * te - step->size * t;
        if (with_step) {
            vf ts = rs;
            if (run->accelerated) ts = rs + a * (rs - rs_old) + step->momentum_slope * (r - r_old);
            vf rs_new = beta * ts - e * t;
            rs_old = rs;
            rs = rs_new;
        }
        r_old = r, re_old = re;
        r = beta * t, re = re_new;
        vi here = steps >= k;
        r_out = choose(here, r, r_out);
        re_out = choose(here, re, re_out);
        if (with_step) rs_out = choose(here, rs, rs_out);
    }
    vf inverse = 1.0f / e, p = (1.0f - r_out) * inverse;
    Filter f = {p, -(re_out + p) * inverse, -rs_out * inverse};
    return f;
}

typedef struct { Filter top, bottom; } Ends; /* at the known eigenvalues L and mu: once a batch, not once a row */

static Ends ends_of(const Run *run, const Step *step)
{
    Ends ends = {filter(run, step, splat(run->smoothness), step->any_learned),
                 filter(run, step, splat(run->strong_convexity), step->any_learned)};
    return ends;
}

/* loss of each row; with gradients also the weighted slopes. eigenvalue: [MID][SAMPLES] */
static void filter_layer(const Run *run, const Step *step, const Ends *ends, const Rows *rows,
                         const vf (*eigenvalue)[SAMPLES], vf loss[SAMPLES], vf (*slope)[SAMPLES], vf *step_slope)
{
    const vf(*c)[SAMPLES] = rows->column + INPUTS, (*y)[SAMPLES] = rows->column + INPUTS + DIM;
    for (int s = 0; s < SAMPLES; s++) {
        vf difference[DIM], square = splat(0);
        Filter f[MID];
        difference[0] = c[0][s] * ends->top.value - y[0][s];
        difference[DIM - 1] = c[DIM - 1][s] * ends->bottom.value - y[DIM - 1][s];
        for (int m = 0; m < MID; m++) {
            f[m] = filter(run, step, eigenvalue[m][s], slope && step->any_learned);
            difference[m + 1] = c[m + 1][s] * f[m].value - y[m + 1][s];
        }
        for (int d = 0; d < DIM; d++) square += difference[d] * difference[d];
        loss[s] = root(square);
        if (!slope) continue;
        /* the subgradient at 0 is 0 */
        vf scale = choose(loss[s] > 0.0f, rows->weight[s] / loss[s], loss[s]);
        vf ds = difference[0] * c[0][s] * ends->top.by_step
            + difference[DIM - 1] * c[DIM - 1][s] * ends->bottom.by_step;
        for (int m = 0; m < MID; m++) {
            vf reach = difference[m + 1] * c[m + 1][s];
            slope[m][s] = scale * reach * f[m].by_eigenvalue;
            ds += reach * f[m].by_step;
        }
        *step_slope += scale * ds;
    }
}

/* ---- the RNN layer: y <- V relu(W3 relu(W2 relu(W1 [-(Q y - b); y]))) ---- */
typedef struct { vf in[CELL][SAMPLES], h1[CELL][SAMPLES], h2[CELL][SAMPLES], h3[CELL][SAMPLES]; } CellTrace;

static inline void dense(int outputs, const vf *w, const vf (*in)[SAMPLES], vf (*out)[SAMPLES], int rectify)
{
    for (int j = 0; j < outputs; j++) {
        vf sum[SAMPLES];
        for (int s = 0; s < SAMPLES; s++) sum[s] = w[j * CELL] * in[0][s];
        for (int i = 1; i < CELL; i++)
            for (int s = 0; s < SAMPLES; s++) sum[s] += w[j * CELL + i] * in[i][s];
        for (int s = 0; s < SAMPLES; s++) out[j][s] = rectify ? relu(sum[s]) : sum[s];
    }
}

/* given d loss / d out (after the rectifier's mask), adds to gradient and returns d loss / d in */
static inline void dense_back(int outputs, const vf *w, vf *g, const vf (*in)[SAMPLES], const vf (*dout)[SAMPLES],
                              vf (*din)[SAMPLES])
{
    for (int i = 0; i < CELL; i++) {
        vf sum[SAMPLES];
        for (int s = 0; s < SAMPLES; s++) sum[s] = w[i] * dout[0][s];
        for (int j = 1; j < outputs; j++)
            for (int s = 0; s < SAMPLES; s++) sum[s] += w[j * CELL + i] * dout[j][s];
        for (int s = 0; s < SAMPLES; s++) din[i][s] = sum[s];
    }
    for (int j = 0; j < outputs; j++) {
        vf out[SAMPLES];
        for (int s = 0; s < SAMPLES; s++) out[s] = dout[j][s];
        for (int i = 0; i < CELL; i++) {
            vf sum = g[j * CELL + i];
            for (int s = 0; s < SAMPLES; s++) sum += out[s] * in[i][s];
            g[j * CELL + i] = sum;
        }
    }
}

static inline void rectifier_back(const vf (*h)[SAMPLES], vf (*dh)[SAMPLES])
{
    for (int i = 0; i < CELL; i++)
        for (int s = 0; s < SAMPLES; s++) dh[i][s] = choose(h[i][s] > 0.0f, dh[i][s], splat(0));
}

static void matrix_of(const Run *run, const Rows *rows, const vf (*eigenvalue)[SAMPLES], vf (*Q)[DIM][SAMPLES])
{
    const vf(*q)[SAMPLES] = rows->column + INPUTS;
    for (int i = 0; i < DIM; i++)
        for (int j = 0; j <= i; j++)
            for (int s = 0; s < SAMPLES; s++) {
                vf sum = run->smoothness * q[i * DIM][s] * q[j * DIM][s]
                    + run->strong_convexity * q[i * DIM + DIM - 1][s] * q[j * DIM + DIM - 1][s];
                for (int m = 0; m < MID; m++)
                    sum += eigenvalue[m][s] * q[i * DIM + m + 1][s] * q[j * DIM + m + 1][s];
                Q[i][j][s] = Q[j][i][s] = sum;
            }
}

static void rnn_layer(const Run *run, const vf *cell, const Rows *rows, const vf (*eigenvalue)[SAMPLES],
                      vf loss[SAMPLES], vf (*slope)[SAMPLES], vf *g, CellTrace *trace)
{
    const vf(*q)[SAMPLES] = rows->column + INPUTS, (*b)[SAMPLES] = q + DIM * DIM, (*target)[SAMPLES] = b + DIM;
    const vf *w1 = cell, *w2 = w1 + CELL * CELL, *w3 = w2 + CELL * CELL, *v = w3 + CELL * CELL;
    vf Q[DIM][DIM][SAMPLES], y[DIM][SAMPLES], next[DIM][SAMPLES];
    vi steps;
    memcpy(&steps, run->steps, sizeof steps);
    matrix_of(run, rows, eigenvalue, Q);
    memset(y, 0, sizeof y);
    for (int k = 0; k < run->max_steps; k++) {
        CellTrace *t = trace + (slope ? k : 0);
        for (int i = 0; i < DIM; i++)
            for (int s = 0; s < SAMPLES; s++) {
                vf sum = b[i][s];
                for (int j = 0; j < DIM; j++) sum -= Q[i][j][s] * y[j][s];
                t->in[i][s] = sum;
                t->in[DIM + i][s] = y[i][s];
            }
        dense(CELL, w1, (const vf(*)[SAMPLES])t->in, t->h1, 1);
        dense(CELL, w2, (const vf(*)[SAMPLES])t->h1, t->h2, 1);
        dense(CELL, w3, (const vf(*)[SAMPLES])t->h2, t->h3, 1);
        dense(DIM, v, (const vf(*)[SAMPLES])t->h3, next, 0);
        for (int i = 0; i < DIM; i++)
            for (int s = 0; s < SAMPLES; s++) y[i][s] = choose(steps > k, next[i][s], y[i][s]);
    }
    vf dy[DIM][SAMPLES];
    for (int s = 0; s < SAMPLES; s++) {
        vf square = splat(0);
        for (int i = 0; i < DIM; i++) {
            dy[i][s] = y[i][s] - target[i][s];
            square += dy[i][s] * dy[i][s];
        }
        loss[s] = root(square);
        vf scale = choose(loss[s] > 0.0f, rows->weight[s] / loss[s], loss[s]);
        for (int i = 0; i < DIM; i++) dy[i][s] *= scale;
    }
    if (!slope) return;
    vf *g1 = g, *g2 = g1 + CELL * CELL, *g3 = g2 + CELL * CELL, *gv = g3 + CELL * CELL;
    vf dQ[DIM][DIM][SAMPLES];
    memset(dQ, 0, sizeof dQ);
    for (int k = run->max_steps - 1; k >= 0; k--) {
        const CellTrace *t = trace + k;
        vf out[DIM][SAMPLES], da[CELL][SAMPLES], db[CELL][SAMPLES];
        for (int i = 0; i < DIM; i++)
            for (int s = 0; s < SAMPLES; s++) out[i][s] = choose(steps > k, dy[i][s], splat(0));
        dense_back(DIM, v, gv, t->h3, (const vf(*)[SAMPLES])out, da);
        rectifier_back(t->h3, da);
        dense_back(CELL, w3, g3, t->h2, (const vf(*)[SAMPLES])da, db);
        rectifier_back(t->h2, db);
        dense_back(CELL, w2, g2, t->h1, (const vf(*)[SAMPLES])db, da);
        rectifier_back(t->h1, da);
        dense_back(CELL, w1, g1, t->in, (const vf(*)[SAMPLES])da, db);
        for (int i = 0; i < DIM; i++)
            for (int s = 0; s < SAMPLES; s++) {
                vf sum = db[DIM + i][s];
                for (int j = 0; j < DIM; j++) {
                    sum -= Q[i][j][s] * db[j][s];
                    dQ[i][j][s] -= db[i][s] * t->in[DIM + j][s];
                }
                dy[i][s] = choose(steps > k, sum, dy[i][s]);
            }
    }
    for (int m = 0; m < MID; m++)
        for (int s = 0; s < SAMPLES; s++) {
            vf sum = splat(0);
            for (int i = 0; i < DIM; i++)
                for (int j = 0; j < DIM; j++)
                    sum += q[i * DIM + m + 1][s] * dQ[i][j][s] * q[j * DIM + m + 1][s];
            slope[m][s] = sum;
        }
}

/* ---- one batch, one evaluation, one update ---- */
typedef struct { Rows rows; Energies energy; vf *hidden; CellTrace *trace; vf *gradient; } Scratch;

static void layer_losses(const Run *run, const Weights *w, const Step *step, const Ends *ends, Scratch *scratch,
                         const vf (*eigenvalue)[SAMPLES], vf loss[SAMPLES], vf (*slope)[SAMPLES], vf *layer_gradient)
{
    if (run->recurrent)
        rnn_layer(run, w->layer, &scratch->rows, eigenvalue, loss, slope, layer_gradient, scratch->trace);
    else
        filter_layer(run, step, ends, &scratch->rows, eigenvalue, loss, slope, layer_gradient);
}

/* returns the sum of losses over rows first..last-1; adds to the gradient (a sum, not a mean) where learn is set */
static vd batch(const Run *run, Scratch *scratch, const int32_t *const index[LANES], int first, int last, int learn)
{
    Weights w = split(run->weights, run->hidden), at = split((float *)scratch->gradient, run->hidden);
    Gradients g = {(vf *)at.w1, (vf *)at.b1, (vf *)at.w2, (vf *)at.b2, (vf *)at.layer};
    vf(*hidden)[SAMPLES] = (vf(*)[SAMPLES])scratch->hidden;
    Step step = {0};
    Ends ends = {0};
    vf step_slope = splat(0);
    vd total = {0};
    if (!run->recurrent) step = step_now(run, w.layer[0]), ends = ends_of(run, &step);
    for (int start = first; start < last; start += SAMPLES) {
        vf loss[SAMPLES], slope[MID][SAMPLES];
        gather(&scratch->rows, run, index, start, last);
        net_forward(run, &w, &scratch->rows, hidden, &scratch->energy);
        layer_losses(run, &w, &step, &ends, scratch, (const vf(*)[SAMPLES])scratch->energy.eigenvalue, loss,
                     learn ? slope : 0, run->recurrent ? g.layer : &step_slope);
        if (learn)
            net_backward(run, &w, &scratch->rows, (const vf(*)[SAMPLES])hidden, &scratch->energy,
                         (const vf(*)[SAMPLES])slope, &g);
        for (int s = 0; s < SAMPLES; s++) total += __builtin_convertvector(loss[s] * scratch->rows.weight[s], vd);
    }
    if (learn && !run->recurrent) g.layer[0] += step_slope * step.size_slope;
    return total;
}

static void update(const Run *run, Scratch *scratch, int count, int64_t time, vi alive)
{
    const float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
    vf rate = load(run->learning_rate), decay = load(run->weight_decay);
    float correction = (float)(1.0 / sqrt(1.0 - pow(0.999, (double)time)));
    vf adam_rate = rate * (float)(1.0 / (1.0 - pow(0.9, (double)time)));
    int step_logit = run->recurrent ? -1 : run->parameters - 1; /* not decayed: 0 is no special step size */
    vf *weights = (vf *)run->weights, *m = (vf *)run->moment1, *v = (vf *)run->moment2;
    for (int p = 0; p < run->parameters; p++) {
        vf g = scratch->gradient[p] * (1.0f / (float)count);
        if (p != step_logit) g += decay * weights[p];
        vf move = rate * g;
        if (run->adam) {
            m[p] += (1.0f - beta1) * (g - m[p]);
            v[p] = beta2 * v[p] + (1.0f - beta2) * g * g;
            move = adam_rate * m[p] / (root(v[p]) * correction + epsilon);
        }
        weights[p] = choose(alive, weights[p] - move, weights[p]);
        scratch->gradient[p] = splat(0);
    }
}

/* the mean training loss after `epoch` epochs: curve, best weights, divergence */
static vi judge(const Run *run, vd total, int epoch, vi alive)
{
    vf loss = __builtin_convertvector(total / (double)run->rows, vf), best = load(run->best_loss);
    int slot = run->curve_slot[epoch];
    vi finite = loss <= FLT_MAX, improved = alive & finite & (loss < best);
    int any = 0;
    if (slot >= 0) store(run->curve + (size_t)slot * LANES, choose(alive & finite, loss, splat(NAN)));
    for (int l = 0; l < LANES; l++) {
        any |= improved[l] && epoch > 0;
        if (alive[l] && !finite[l]) run->diverged_epoch[l] = epoch;
        if (improved[l] && epoch > 0) run->best_epoch[l] = epoch;
    }
    if (any) {
        store(run->best_loss, choose(improved, loss, best));
        const vf *weights = (const vf *)run->weights;
        vf *kept = (vf *)run->best_weights;
        for (int p = 0; p < run->parameters; p++) kept[p] = choose(improved, weights[p], kept[p]);
    }
    return alive & finite;
}

static int prepare(const Run *run, Scratch *scratch)
{
    memset(scratch, 0, sizeof *scratch);
    size_t hidden = (size_t)(run->hidden ? run->hidden : 1) * SAMPLES * sizeof(vf);
    size_t trace = run->recurrent ? (size_t)(run->max_steps + 1) * sizeof(CellTrace) : sizeof(vf);
    scratch->hidden = aligned_alloc(sizeof(vf), hidden);
    scratch->trace = aligned_alloc(sizeof(vf), trace);
    scratch->gradient = aligned_alloc(sizeof(vf), (size_t)run->parameters * sizeof(vf));
    if (!scratch->hidden || !scratch->trace || !scratch->gradient) return -1;
    memset(scratch->gradient, 0, (size_t)run->parameters * sizeof(vf));
    return 0;
}

static void release(Scratch *scratch)
{
    free(scratch->hidden);
    free(scratch->trace);
    free(scratch->gradient);
    free(scratch);
}

/* Trains epochs first..last-1. The loss on all rows after an epoch shares the forward pass of the next epoch's first
 * batch, for which the weights are the same; `final` adds the evaluation after the last epoch. -1: out of memory. */
int32_t train(const Run *run, int32_t first, int32_t last, int32_t final)
{
    Scratch *scratch = aligned_alloc(sizeof(vf), (sizeof(Scratch) + sizeof(vf) - 1) / sizeof(vf) * sizeof(vf));
    int32_t *order = malloc(sizeof(int32_t) * (size_t)run->rows * LANES);
    const int32_t *index[LANES];
    vi alive;
    if (!scratch) return free(order), -1;
    if (prepare(run, scratch) || !order) return release(scratch), free(order), -1;
    for (int l = 0; l < LANES; l++) {
        index[l] = order + (size_t)l * (size_t)run->rows;
        alive[l] = run->diverged_epoch[l] < 0 ? -1 : 0;
    }
    uint32_t mode = flush_subnormals();
    int64_t batches = (run->rows + run->batch - 1) / run->batch;
    for (int epoch = first; epoch < last + (final ? 1 : 0); epoch++) {
        int learn = epoch < last, end = run->batch < run->rows ? run->batch : run->rows;
        for (int l = 0; l < LANES; l++)
            shuffle((int32_t *)index[l], run->train_index + (size_t)l * (size_t)run->rows, run->rows,
                    run->order_key[l], (uint64_t)epoch);
        vd total = batch(run, scratch, index, 0, end, learn);
        if (end < run->rows) total += batch(run, scratch, index, end, run->rows, 0);
        alive = judge(run, total, epoch, alive);
        if (!learn) break;
        for (int64_t step = 0; step < batches; step++) {
            int start = (int)step * run->batch, stop = start + run->batch < run->rows ? start + run->batch : run->rows;
            if (step) batch(run, scratch, index, start, stop, 1);
            update(run, scratch, stop - start, (int64_t)epoch * batches + step + 1, alive);
        }
    }
    restore_float_mode(mode);
    release(scratch);
    free(order);
    return 0;
}

/* Means over `count` given rows, the same for all lanes, at run->weights: loss, loss with the true energy in the same
 * layer, and ||Q_theta - Q*||_2 (the largest difference of eigenvalues, as both share the rotation). */
int32_t evaluate(const Run *run, const int32_t *const index[LANES], int32_t count, double *loss_out, double *true_out,
                 double *error_out)
{
    Scratch *scratch = aligned_alloc(sizeof(vf), (sizeof(Scratch) + sizeof(vf) - 1) / sizeof(vf) * sizeof(vf));
    if (!scratch) return -1;
    if (prepare(run, scratch)) return release(scratch), -1;
    uint32_t mode = flush_subnormals();
    Weights w = split(run->weights, run->hidden);
    Step step = {0};
    Ends ends = {0};
    vf unused = splat(0);
    vd total = {0}, total_true = {0}, total_error = {0};
    int truth = INPUTS + (run->recurrent ? DIM * DIM : 0) + 2 * DIM;
    if (!run->recurrent) step = step_now(run, w.layer[0]), ends = ends_of(run, &step);
    for (int start = 0; start < count; start += SAMPLES) {
        vf loss[SAMPLES], loss_true[SAMPLES];
        gather(&scratch->rows, run, index, start, count);
        const vf(*exact)[SAMPLES] = (const vf(*)[SAMPLES])scratch->rows.column + truth;
        net_forward(run, &w, &scratch->rows, (vf(*)[SAMPLES])scratch->hidden, &scratch->energy);
        layer_losses(run, &w, &step, &ends, scratch, (const vf(*)[SAMPLES])scratch->energy.eigenvalue, loss, 0, &unused);
        layer_losses(run, &w, &step, &ends, scratch, exact, loss_true, 0, &unused);
        for (int s = 0; s < SAMPLES; s++) {
            vf error = splat(0), weight = scratch->rows.weight[s];
            for (int m = 0; m < MID; m++)
                error = larger(error, magnitude(scratch->energy.eigenvalue[m][s] - exact[m][s]));
            total += __builtin_convertvector(loss[s] * weight, vd);
            total_true += __builtin_convertvector(loss_true[s] * weight, vd);
            total_error += __builtin_convertvector(error * weight, vd);
        }
    }
    for (int l = 0; l < LANES; l++) {
        loss_out[l] = total[l] / count;
        true_out[l] = total_true[l] / count;
        error_out[l] = total_error[l] / count;
    }
    restore_float_mode(mode);
    release(scratch);
    return 0;
}
