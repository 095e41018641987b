//! Documents, tokenizers and shards.
