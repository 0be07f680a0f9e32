//! The tests of the API: they run the production application over HTTP on a real PostgreSQL.
//!
//! With `DEVICEGRAPH_TEST_URL`, the tests use the service at this URL. They then skip every
//! test that needs access to the database or its own process.

mod addressing;
mod architecture;
mod assign;
mod assignments;
mod authorization;
mod bad_input;
mod batch;
mod batch_mix;
mod batch_reading;
mod beta;
mod catalogue;
mod coalescing;
mod commands;
mod configurations;
mod console;
mod constraints;
mod control_information;
mod documentation;
mod etags;
mod exports;
mod failures;
mod filter;
mod generated;
mod hardening;
mod harness;
mod imports;
mod keys;
mod metadata;
mod meter;
mod metrics;
mod names;
mod network;
mod openapi;
mod outage;
mod paging;
mod plans;
mod private_server;
mod process;
mod races;
mod reader;
mod rebinding;
mod schema;
mod secrets;
mod service;
mod snapshots;
mod statuses;
mod tokens;
mod total;
mod transfer;
mod wire;
mod words;
mod work;
mod writer;
