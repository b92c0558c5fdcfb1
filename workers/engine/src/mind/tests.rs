//! The mind, table by table.
