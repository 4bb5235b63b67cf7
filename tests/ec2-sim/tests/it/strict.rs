//! Every way in which a well-known mock is more lenient than EC2: here the simulator must refuse.

mod addresses;
mod attachments;
mod elastic_ips;
mod interfaces;
mod queues;
mod requests;
mod routes;
