//! Text ids, payloads, a field index, a filtered search, an update, a delete, a look at what there is.
//!
//! Payloads are msgpack maps. Any msgpack crate makes them; here they are written by hand, to show what they are.
use omendb::{Batch, FieldType, Index, Metric, Search, With};

/// `{"year": year}`: a map of one, a text of four bytes, a 16-bit number.
fn payload_of(year: u16) -> Vec<u8> {
    let mut bytes = b"\x81\xa4year\xcd".to_vec();
    bytes.extend(year.to_be_bytes());
    bytes
}

fn main() -> omendb::Result<()> {
    let index = Index::builder(3).metric(Metric::Cosine).open()?;
    index.field_index("year", FieldType::Integer)?;

    let titles = ["bread", "butter", "piston", "gearbox"];
    let vectors = [[1.0_f32, 0.1, 0.0], [0.9, 0.3, 0.0], [0.0, 0.2, 1.0], [0.1, 0.0, 0.8]];
    let payloads = [1999, 2015, 2008, 2021].map(payload_of);
    index.add(Batch::new(&vectors).ids(&titles).payloads(&payloads))?;

    let query = [1.0_f32, 0.2, 0.0];
    println!("nearest, from 2000 on:");
    for hit in index.search_with(&query, 2, &Search::new().filter("year >= 2000"))? {
        println!("  {:8} {:.3}", index.id_text(hit.id)?, hit.distance);
    }

    index.upsert(Batch::new(&[[0.0_f32, 0.0, 1.0]]).ids(&["butter"]).payloads(&[payload_of(2024)]))?;
    println!("deleted: {}", index.delete_where("year < 2010")?);

    for page in index.scroll(None, With::All, 100)? {
        for point in &page? {
            println!("  {:8} {:?}", index.id_text(point.id())?, point.vector_as::<f32>());
        }
    }
    let stats = index.stats()?;
    println!("{} points, {} kernels", stats.count, stats.kernel);
    Ok(())
}
