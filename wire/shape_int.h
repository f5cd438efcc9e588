// wire/shape_int.h -- one field, one item of a list: what shape.c, shape_value.c and shape_list.c are to each other.
//
// Shape: value.
#ifndef OMEN_WIRE_SHAPE_INT_H
#define OMEN_WIRE_SHAPE_INT_H
#include "wire/shape.h"

// shape_value.c: fields that are one value.
void value_read(struct decode *decode, const struct field *field, void *at);
void value_write(struct encode *encode, const struct field *field, const void *at);
bool value_is_zero(const struct field *field, const void *at);
void id_read(struct decode *decode, struct wire_id *id);
void id_write(struct encode *encode, const struct wire_id *id);
void payload_read(struct decode *decode, struct wire_bytes *payload);

// shape_vector.c
void vector_read(struct decode *decode, struct wire_vectors *vector);
void vectors_read(struct decode *decode, const struct field *field, struct wire_vectors *vectors);
void vectors_write(struct encode *encode, const struct wire_vectors *vectors);

// shape_list.c
bool field_is_list(const struct field *field);
void list_read(struct decode *decode, const struct field *field, struct wire_list *list);
void list_write(struct encode *encode, const struct field *field, const struct wire_list *list);

#endif
