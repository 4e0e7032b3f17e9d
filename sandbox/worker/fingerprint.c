#include "fingerprint.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// The engine's C interface, as far as it is used.
extern engine_function duckdb_create_aggregate_function(void);
extern void duckdb_destroy_aggregate_function(engine_function *function);
extern void duckdb_aggregate_function_set_name(engine_function function, const char *name);
extern void duckdb_aggregate_function_add_parameter(engine_function function, engine_type type);
extern void duckdb_aggregate_function_set_return_type(engine_function function, engine_type type);
extern void duckdb_aggregate_function_set_functions(engine_function function, uint64_t (*size)(engine_info), void (*init)(engine_info, print *),
	void (*update)(engine_info, engine_chunk, print **), void (*combine)(engine_info, print **, print **, uint64_t),
	void (*finish)(engine_info, print **, engine_vector, uint64_t, uint64_t));
extern void duckdb_aggregate_function_set_destructor(engine_function function, void (*destroy)(print **, uint64_t));
extern int duckdb_register_aggregate_function(engine_connection connection, engine_function function);
extern void duckdb_aggregate_function_set_error(engine_info info, const char *error);
extern engine_type duckdb_create_logical_type(int type);
extern void duckdb_destroy_logical_type(engine_type *type);
extern uint64_t duckdb_data_chunk_get_size(engine_chunk chunk);
extern engine_vector duckdb_data_chunk_get_vector(engine_chunk chunk, uint64_t column);
extern void *duckdb_vector_get_data(engine_vector vector);
extern uint64_t *duckdb_vector_get_validity(engine_vector vector);
extern void duckdb_vector_ensure_validity_writable(engine_vector vector);
extern void duckdb_validity_set_row_invalid(uint64_t *validity, uint64_t row);
extern void duckdb_vector_assign_string_element_len(engine_vector vector, uint64_t row, const char *bytes, uint64_t length);

// The engine's numbers of its types.
enum { TYPE_UBIGINT = 9, TYPE_BLOB = 18 };

// A weight is the upper half of a hash, and one.
enum { FIRST_SLOTS = 8, FEW_SLOTS = 2048, AHEAD = 16, WEIGHT_SHIFT = 32 };

// GIVEN_UP is what a group has used that found no memory: nothing is added to it any more, and what it gives is an empty blob.
#define GIVEN_UP UINT32_MAX

// A worker has one engine, so this is said once. The memory of all groups is counted, since the engine does not count it.
static uint32_t all_parts;
static uint64_t limit;
static _Atomic uint64_t taken;

static const char full[] = "no memory for results";
static const char wide[] = "a fingerprint is out of range";

uint64_t weir_fingerprint_bytes(void) { return atomic_load(&taken); }

static uint64_t size_of(const print *p) { return p->parts ? (uint64_t)p->slots * 12 : (uint64_t)p->slots * 8; }

static void release(print *p) {
	if (p->sums) {
		atomic_fetch_sub(&taken, size_of(p));
		free(p->sums);
	}
	memset(p, 0, sizeof *p);
}

static void give_up(print *p) {
	release(p);
	p->used = GIVEN_UP;
}

// reserve gives p empty room for slots, in an array of all parts if those are all. It reports whether there was memory.
static bool reserve(print *p, uint32_t slots) {
	bool all = slots >= all_parts;
	uint64_t bytes = (uint64_t)slots * (all ? 8 : 12);
	if (atomic_fetch_add(&taken, bytes) + bytes > limit || !(p->sums = calloc(1, bytes))) {
		atomic_fetch_sub(&taken, bytes);
		memset(p, 0, sizeof *p);
		return false;
	}
	p->parts = all ? NULL : (uint32_t *)(p->sums + slots);
	p->slots = slots;
	p->used = 0;
	p->shift = __builtin_ctz(all_parts) - __builtin_ctz(slots);
	return true;
}

// slot finds the place of a part: its leading bits, since parts are bits of a hash and so spread already. The slots are all but
// in the order of the parts for that.
static inline uint32_t slot(const print *p, uint32_t part) {
	uint32_t at = part >> p->shift;
	if (p->parts) {
		while (p->parts[at] && p->parts[at] != part + 1) {
			at = (at + 1) & (p->slots - 1);
		}
	}
	return at;
}

// put adds to a part for which there is room. It reports whether the sum has 64 bits.
static inline bool put(print *p, uint32_t part, uint64_t weight) {
	uint32_t at = slot(p, part);
	if (!p->sums[at]) {
		p->used++;
		if (p->parts) {
			p->parts[at] = part + 1;
		}
	}
	return !__builtin_add_overflow(p->sums[at], weight, &p->sums[at]);
}

static inline bool is_full(const print *p) { return !p->slots || (p->parts && p->used >= p->slots / 2); }

// widen gives p room for so many parts, and at least for one more than it has. Half of a hash table stays free.
static bool widen(print *p, uint32_t parts) {
	uint32_t slots = FIRST_SLOTS;
	while (slots < all_parts && slots / 2 < parts) {
		slots *= slots < FEW_SLOTS ? 4 : 2;
	}
	print wider;
	if (!reserve(&wider, slots)) {
		return false;
	}
	for (uint32_t i = 0; i < p->slots; i++) {
		if (p->sums[i]) {
			put(&wider, p->parts[i] - 1, p->sums[i]); // an array of all parts is never widened
		}
	}
	release(p);
	*p = wider;
	return true;
}

uint64_t print_size(engine_info info) { return sizeof(print); }

void print_init(engine_info info, print *state) { memset(state, 0, sizeof *state); }

static inline bool is_null(const uint64_t *validity, uint64_t row) { return validity && !(validity[row / 64] >> row % 64 & 1); }

// print_update takes hashes of units, and how many times each counts.
void print_update(engine_info info, engine_chunk rows, print **states) {
	engine_vector first = duckdb_data_chunk_get_vector(rows, 0), second = duckdb_data_chunk_get_vector(rows, 1);
	const uint64_t *hashes = duckdb_vector_get_data(first), *times = duckdb_vector_get_data(second);
	const uint64_t *hash_there = duckdb_vector_get_validity(first), *times_there = duckdb_vector_get_validity(second);
	uint64_t count = duckdb_data_chunk_get_size(rows);
	for (uint64_t i = 0; i < count; i++) {
		if (i + AHEAD < count && states[i + AHEAD]->slots) { // most of the time goes into waiting for memory
			const print *soon = states[i + AHEAD];
			uint32_t at = (hashes[i + AHEAD] & (all_parts - 1)) >> soon->shift;
			__builtin_prefetch(&soon->sums[at], 1);
			if (soon->parts) {
				__builtin_prefetch(&soon->parts[at], 1);
			}
		}
		if (is_null(hash_there, i) || is_null(times_there, i) || !times[i]) {
			continue;
		}
		uint64_t weight;
		if (__builtin_mul_overflow((hashes[i] >> WEIGHT_SHIFT) + 1, times[i], &weight)) {
			duckdb_aggregate_function_set_error(info, wide);
			return;
		}
		print *p = states[i];
		if (p->used == GIVEN_UP) {
			continue;
		}
		if (is_full(p) && !widen(p, p->used + 1)) {
			give_up(p);
			continue;
		}
		if (!put(p, hashes[i] & (all_parts - 1), weight)) {
			duckdb_aggregate_function_set_error(info, wide);
			return;
		}
	}
}

// print_combine adds the sources to the targets and leaves the sources empty, so that nothing is held twice. The engine
// destroys sources after it combined them, but in windows, where this aggregate is never used.
void print_combine(engine_info info, print **sources, print **targets, uint64_t count) {
	for (uint64_t i = 0; i < count; i++) {
		print *from = sources[i], *to = targets[i];
		if (from->used == GIVEN_UP || to->used == GIVEN_UP) {
			give_up(to);
			release(from);
			continue;
		}
		if (from->used > to->used) {
			print swapped = *to;
			*to = *from;
			*from = swapped;
		}
		uint32_t most = to->used + from->used < all_parts ? to->used + from->used : all_parts;
		if (from->used && to->parts && most > to->slots / 2 && !widen(to, most)) {
			give_up(to);
			release(from);
			continue;
		}
		for (uint32_t at = 0; at < from->slots; at++) {
			if (from->sums[at] && !put(to, from->parts ? from->parts[at] - 1 : at, from->sums[at])) {
				duckdb_aggregate_function_set_error(info, wide);
				return;
			}
		}
		release(from);
	}
}

static unsigned char *varint(unsigned char *to, uint64_t value) {
	for (; value >= 128; value >>= 7) {
		*to++ = value | 128;
	}
	*to++ = value;
	return to;
}

// in_order lists the slots that are used in the order of their parts, which they all but have: above a part, its slot. It gives how many they are.
static uint32_t in_order(const print *p, uint64_t *order) {
	uint32_t n = 0;
	for (uint32_t at = 0; at < p->slots; at++) {
		if (!p->sums[at]) {
			continue;
		}
		uint64_t next = (uint64_t)(p->parts ? p->parts[at] - 1 : at) << 32 | at;
		uint32_t place = n++;
		for (; place > 0 && order[place - 1] > next; place--) {
			order[place] = order[place - 1];
		}
		order[place] = next;
	}
	return n;
}

// encode writes, for each part in ascending order, its distance from the one before and its sum, and gives the length. order has room
// for all parts, and to for thirteen bytes of each.
static uint64_t encode(const print *p, uint64_t *order, unsigned char *to) {
	const unsigned char *begin = to;
	uint32_t last = 0, n = in_order(p, order);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t part = order[i] >> 32;
		to = varint(to, part - last);
		to = varint(to, p->sums[(uint32_t)order[i]]);
		last = part;
	}
	return to - begin;
}

// print_finish gives each group's fingerprint, NULL where it has no rows, and an empty blob where it was given up.
void print_finish(engine_info info, print **states, engine_vector result, uint64_t count, uint64_t offset) {
	uint64_t *order = malloc(all_parts * (sizeof *order + 13));
	if (!order) {
		duckdb_aggregate_function_set_error(info, full);
		return;
	}
	unsigned char *bytes = (unsigned char *)(order + all_parts);
	for (uint64_t i = 0; i < count; i++) {
		print *p = states[i];
		if (p->used == GIVEN_UP) {
			duckdb_vector_assign_string_element_len(result, offset + i, "", 0);
			continue;
		}
		if (!p->used) {
			duckdb_vector_ensure_validity_writable(result);
			duckdb_validity_set_row_invalid(duckdb_vector_get_validity(result), offset + i);
			continue;
		}
		duckdb_vector_assign_string_element_len(result, offset + i, (const char *)bytes, encode(p, order, bytes));
	}
	free(order);
}

void print_destroy(print **states, uint64_t count) {
	for (uint64_t i = 0; i < count; i++) {
		release(states[i]);
	}
}

bool weir_fingerprint_register(engine_connection connection, const char *name, uint32_t parts, uint64_t bytes) {
	all_parts = parts;
	limit = bytes;
	engine_function function = duckdb_create_aggregate_function();
	engine_type number = duckdb_create_logical_type(TYPE_UBIGINT), blob = duckdb_create_logical_type(TYPE_BLOB);
	duckdb_aggregate_function_set_name(function, name);
	duckdb_aggregate_function_add_parameter(function, number);
	duckdb_aggregate_function_add_parameter(function, number);
	duckdb_aggregate_function_set_return_type(function, blob);
	duckdb_aggregate_function_set_functions(function, print_size, print_init, print_update, print_combine, print_finish);
	duckdb_aggregate_function_set_destructor(function, print_destroy);
	bool registered = duckdb_register_aggregate_function(connection, function) == 0;
	duckdb_destroy_logical_type(&number);
	duckdb_destroy_logical_type(&blob);
	duckdb_destroy_aggregate_function(&function);
	return registered;
}
