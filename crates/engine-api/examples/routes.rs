//! Prints `docs/engine-api.md` from the route table.

fn main() {
    print!("{}", engine_api::routes::markdown());
}
