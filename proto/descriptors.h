/* SPDX-License-Identifier: Apache-2.0 */
/* The FileDescriptorSet of the served .proto files and their imports, serialized; made at build
 * time. */
#ifndef TX_PROTO_DESCRIPTORS_H
#define TX_PROTO_DESCRIPTORS_H

extern const unsigned char descriptors_data[];
extern const unsigned long descriptors_size;

#endif
