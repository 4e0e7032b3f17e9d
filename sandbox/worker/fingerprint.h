// The aggregate weir_fingerprint, and what it uses of the engine's C interface. The engine's own header is not on the path of
// another module, so what is needed of it is declared here; the linker finds it in the engine.
#ifndef WEIR_FINGERPRINT_H
#define WEIR_FINGERPRINT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct engine_function *engine_function;     // duckdb_aggregate_function
typedef struct engine_info *engine_info;             // duckdb_function_info
typedef struct engine_chunk *engine_chunk;           // duckdb_data_chunk
typedef struct engine_vector *engine_vector;         // duckdb_vector
typedef struct engine_type *engine_type;             // duckdb_logical_type
typedef struct engine_connection *engine_connection; // duckdb_connection

// print is the state of one group: for each part the sum of the weights. As long as few parts have one it is a hash table
// with open addressing; from then on an array of all parts, whose place is the part.
typedef struct {
	uint64_t *sums;  // by slot
	uint32_t *parts; // of each slot, one more than the part, 0 where the slot is free; NULL in an array of all parts
	uint32_t slots;
	uint32_t used;
	uint32_t shift; // takes from a part the bits that its slot has not
} print;

// The callbacks. They run once for a vector of rows, on the engine's threads.
uint64_t print_size(engine_info info);
void print_init(engine_info info, print *state);
void print_update(engine_info info, engine_chunk rows, print **states);
void print_combine(engine_info info, print **sources, print **targets, uint64_t count);
void print_finish(engine_info info, print **states, engine_vector result, uint64_t count, uint64_t offset);
void print_destroy(print **states, uint64_t count);

// weir_fingerprint_register makes the aggregate known to a connection's engine, for so many parts, a power of two. All groups
// together may take so many bytes; those that do not find room are given up.
bool weir_fingerprint_register(engine_connection connection, const char *name, uint32_t parts, uint64_t bytes);

// weir_fingerprint_bytes is what the groups of all queries take at the moment.
uint64_t weir_fingerprint_bytes(void);

#endif
