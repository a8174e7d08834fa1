//! Keys chosen to collide under one seed: under any other they are spread as any keys are.
//!
//! Floor 2. Imports `address`, `index`.

use std::cell::Cell;

use rapidhash::v3::RapidSecrets;

use crate::address::Location;
use crate::index::hash::Hasher;
use crate::index::table::{Found, Probe, Table};
use crate::index::tests::at;

/// Of the store that the keys are chosen for.
const KNOWN: [u8; 16] = [7; 16];

/// A key that has the same hash under `KNOWN` as all others that this gives: what its second half is multiplied with is nothing.
fn chosen(number: u64, secrets: &RapidSecrets) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&secrets.secrets[1].to_le_bytes());
    key[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    key
}

/// Puts so many of these keys into a table, and finds each. Returns how many records were looked at for either.
fn looks(hasher: &Hasher, count: u64) -> (u64, u64) {
    let (table, looks) = (Table::new(), Cell::new(0));
    let secrets = RapidSecrets::seed(u128::from_le_bytes(KNOWN) as u64);
    let hash = |number| hasher.hash(&chosen(number, &secrets));
    let probe = |number| {
        let looks = &looks;
        move |there: Location| {
            looks.set(looks.get() + 1);
            if there == at(number + 1) { Probe::Same(()) } else { Probe::Other }
        }
    };
    for number in 0..count {
        assert_eq!(table.insert(hash(number), at(number + 1), probe(number)).old, None);
    }
    let put = looks.replace(0);
    for number in 0..count {
        assert_eq!(table.find(hash(number), probe(number)), Found::At(at(number + 1)));
    }
    (put, looks.get())
}

#[test]
fn keys_chosen_to_collide_cost_a_look_for_each_other_one_where_the_seed_is_known() {
    let (put, found) = looks(&Hasher::rapid(KNOWN), 2_000);
    assert!(put == 2_000 * 1_999 / 2 && found > 2_000 * 1_000, "{put} and {found} looks");
}

#[test]
fn a_million_keys_chosen_to_collide_are_spread_by_a_seed_that_was_not_known() {
    // The fewer first: a million that did collide would take hours.
    for count in [10_000, 1_000_000] {
        for byte in [0, 7] {
            let mut seed = KNOWN;
            seed[byte] ^= 1;
            for hasher in [Hasher::rapid(seed), Hasher::sip(seed), Hasher::sip(KNOWN)] {
                let (put, found) = looks(&hasher, count);
                assert!(put < count / 100, "{hasher:?}: {put} looks to put {count} keys");
                assert!(found < count + count / 100, "{hasher:?}: {found} looks to find {count} keys");
            }
        }
    }
}
