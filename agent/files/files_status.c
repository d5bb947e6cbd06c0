/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/files_status.h"

void files_status_fill(
    struct files_status *out, const struct rpc_status *status, const char *summary)
{
	Telex__Internal__V1__FilesStatus *m = &out->m;

	telex__internal__v1__files_status__init(m);
	m->code = (uint32_t)status->code;
	m->reason = (char *)(uintptr_t)status->reason;
	m->message = (char *)(uintptr_t)status->message;
	m->summary = (char *)(uintptr_t)summary;
	m->metadata = out->list;
	for (size_t i = 0; i < status->n_meta; i++) {
		Telex__Internal__V1__FilesStatus__MetadataEntry *entry = &out->entries[i];

		telex__internal__v1__files_status__metadata_entry__init(entry);
		entry->key = (char *)(uintptr_t)status->meta[i].key;
		entry->value = (char *)(uintptr_t)status->meta[i].value;
		out->list[m->n_metadata++] = entry;
	}
}
