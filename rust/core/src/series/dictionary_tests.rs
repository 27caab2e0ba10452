use super::*;
use proptest::prelude::*;

fn raw<'a>(name: &'a [u8], tags: &'a [RawTag<'a>]) -> RawDefinition<'a> {
    RawDefinition { name, tags, crowd: None, type_number: 1, unit: b"By", delta: false }
}

struct Fixture {
    dictionary: StreamDictionary,
    common: CommonTags,
    keys: KeyBuilder,
    registry: Registry,
}

impl Fixture {
    fn new(max_cardinality: usize) -> Self {
        let mut common = CommonTags::default();
        common.update(&[(b"region", b"eu")], b"node-1");
        let (dictionary, keys) = (StreamDictionary::new(b"node-1"), KeyBuilder::default());
        Self { dictionary, common, keys, registry: Registry::new(max_cardinality) }
    }

    fn define(&mut self, id: u32, definition: RawDefinition<'_>) -> Place {
        self.dictionary.define(id, definition).expect("the definition is new and there is room");
        self.dictionary.place(id).expect("it was just defined")
    }

    fn resolve(&mut self, place: Place, now_secs: u64) -> Result<Arc<Descriptor>, Refusal> {
        let Self { dictionary, common, keys, registry } = self;
        let source = Source { identity: "node-1", series_max: usize::MAX, now_secs };
        dictionary.resolve(place, common, keys, registry, source).cloned()
    }
}

proptest! {
    /// Whatever a stream does not look at, what it resolves is active, no series expires before its time, and each does
    /// a little later.
    #[test]
    fn a_series_that_is_trusted_is_active(steps in prop::collection::vec(
        (0_u64..15, prop::collection::vec(0_u32..5, 0..5), any::<bool>(), prop::option::weighted(0.2, 0_u32..5)), 0..60)) {
        const IDLE_SECS: u64 = 20;
        const TOUCH_SECS: u64 = 6;
        let names = ["a", "b", "c", "d", "e"];
        let mut fixture = Fixture::new(10);
        let places: Vec<Place> = (0..).zip(names).map(|(id, name)| fixture.define(id, raw(name.as_bytes(), &[]))).collect();
        let keys = [false, true].map(|region| names.map(|name| {
            fixture.common.update(if region { &[(b"region", b"us")] } else { &[] }, b"node-1");
            fixture.keys.build(name.as_bytes(), &[], &fixture.common).expect("it is valid").to_key()
        }));
        let (mut now_secs, mut last_secs) = (1_000, HashMap::new());
        for (waited, ids, region, changed) in steps {
            now_secs += waited;
            fixture.registry.expire(now_secs, IDLE_SECS + TOUCH_SECS, usize::MAX);
            for (&(region, id), last) in &last_secs {
                let active = fixture.registry.lookup(keys[usize::from(region)][id as usize].borrowed()).is_some();
                prop_assert!(active || now_secs - last > IDLE_SECS, "it was forgotten too early");
                prop_assert!(!active || now_secs - last < IDLE_SECS + TOUCH_SECS, "it was not forgotten");
            }
            fixture.common.update(if region { &[(b"region", b"us")] } else { &[] }, b"node-1");
            fixture.dictionary.begin();
            fixture.dictionary.trust(now_secs, TOUCH_SECS);
            for id in ids {
                let place = places[id as usize];
                if fixture.dictionary.index(place).is_none() {
                    let series = fixture.resolve(place, now_secs).expect("there is room");
                    fixture.dictionary.set_index(place, 0);
                    prop_assert_eq!(&series.key, &keys[usize::from(region)][id as usize]);
                }
                let current = fixture.registry.lookup(keys[usize::from(region)][id as usize].borrowed());
                prop_assert!(current.is_some(), "points of it are stored");
                last_secs.insert((region, id), now_secs);
            }
            if let Some(id) = changed {
                // Another stream brings the series with another unit, if it is active.
                let key = keys[usize::from(region)][id as usize].borrowed();
                let meta = Meta { metric_type: MetricType::Counter, unit: if now_secs % 2 == 0 { "s" } else { "By" }, delta: false };
                if fixture.registry.lookup(key).is_some() {
                    let source = Source { identity: "node-2", series_max: usize::MAX, now_secs };
                    fixture.registry.admit(key, meta, source).expect("it is known");
                    last_secs.insert((region, id), now_secs);
                }
            }
        }
    }
}

#[test]
fn repetitions_are_free_in_any_order_of_tags_and_changes_are_errors() {
    let mut dictionary = StreamDictionary::new(b"n");
    let tags: &[RawTag<'_>] = &[(b"b", b"2"), (b"a", b"1")];
    let turned: &[RawTag<'_>] = &[(b"a", b"1"), (b"b", b"2")];
    assert_eq!(dictionary.define(7, raw(b"m", tags)), Ok(true));
    assert_eq!(dictionary.define(7, raw(b"m", turned)), Ok(false));
    assert_eq!((dictionary.len(), dictionary.bytes()), (1, 7));
    let others = [
        raw(b"x", tags),
        raw(b"m", &tags[..1]),
        raw(b"m", &[]),
        RawDefinition { unit: b"", ..raw(b"m", tags) },
        RawDefinition { type_number: 2, ..raw(b"m", tags) },
        RawDefinition { delta: true, ..raw(b"m", tags) },
    ];
    for other in others {
        assert_eq!(dictionary.define(7, other), Err(DefinitionError::Redefined(7)), "{other:?}");
    }
    // Where texts are cut makes a difference, though their bytes in a row are the same.
    assert_eq!(dictionary.define(7, raw(b"m", &[(b"a", b"1b"), (b"", b"2")])), Err(DefinitionError::Redefined(7)));
}

#[test]
fn definitions_that_break_a_rule_are_remembered_and_their_points_refused() {
    let mut fixture = Fixture::new(10);
    let twice: &[RawTag<'_>] = &[(b"a", b"1"), (b"a", b"1")];
    let cases = [
        (raw(b"", &[]), Rule::Name),
        (raw(b"\xff", twice), Rule::Name),
        (raw(b"m", twice), Rule::Tag),
        (raw(b"m", &[(b"", b"1")]), Rule::Tag),
        (RawDefinition { unit: &[b'x'; 64], ..raw(b"m", &[]) }, Rule::Tag),
        (RawDefinition { type_number: 3, ..raw(b"m", &[]) }, Rule::Value),
        (RawDefinition { type_number: 99, ..raw(b"m", twice) }, Rule::Tag),
    ];
    for (id, (definition, rule)) in (0..).zip(cases) {
        let place = fixture.define(id, definition);
        assert_eq!(fixture.dictionary.define(id, definition), Ok(false));
        for _ in 0..2 {
            match fixture.resolve(place, 1) {
                Err(Refusal::Invalid(fault)) => assert_eq!(fault.rule(), rule, "{definition:?}"),
                other => panic!("{definition:?} resolved to {other:?}"),
            }
        }
    }
    assert!(fixture.registry.is_empty());
    // A key that stands twice with one value is not the same list as the key once.
    assert_eq!(fixture.dictionary.define(2, raw(b"m", &twice[..1])), Err(DefinitionError::Redefined(2)));
}

#[test]
fn bad_common_tags_are_judged_before_the_type() {
    let mut fixture = Fixture::new(10);
    let place = fixture.define(0, RawDefinition { type_number: 3, ..raw(b"m", &[]) });
    fixture.common.update(&[(b"a", b"")], b"node-1");
    assert_eq!(fixture.resolve(place, 1), Err(InvalidSeries::TagValueLength.into()));
    fixture.common.update(&[], b"node-1");
    assert_eq!(fixture.resolve(place, 1), Err(InvalidSeries::Type.into()));
}

#[test]
fn a_malformed_batch_leaves_no_trace() {
    let mut dictionary = StreamDictionary::new(b"n");
    dictionary.begin();
    dictionary.define(1, raw(b"kept", &[])).expect("it is new");
    dictionary.begin();
    for id in [0, 2, 900, 70_000, u32::MAX] {
        dictionary.define(id, raw(b"thrown away", &[])).expect("it is new");
    }
    assert_eq!(dictionary.define(1, raw(b"other", &[])), Err(DefinitionError::Redefined(1)));
    dictionary.rollback();
    assert_eq!((dictionary.len(), dictionary.bytes()), (1, 6));
    for id in [0, 2, 900, 70_000, u32::MAX] {
        assert_eq!(dictionary.place(id), None);
        assert_eq!(dictionary.define(id, raw(b"another meaning", &[])), Ok(true));
    }
    assert_eq!(dictionary.place(1).map(|place| dictionary.name(place).to_vec()), Some(b"kept".to_vec()));
}

#[test]
fn a_stream_holds_so_many_definitions_and_so_many_bytes() {
    let mut dictionary = StreamDictionary::new(b"n");
    for id in 0..limits::STREAM_DEFINITIONS_MAX as u32 {
        dictionary.define(id, raw(b"m", &[])).expect("there is room");
    }
    assert_eq!(dictionary.define(u32::MAX, raw(b"m", &[])), Err(DefinitionError::TooMany));
    assert_eq!(dictionary.define(5, raw(b"m", &[])), Ok(false));

    let mut dictionary = StreamDictionary::new(b"n");
    let half = vec![b'x'; limits::STREAM_DEFINITION_BYTES_MAX / 2 - 2];
    dictionary.define(0, raw(&half, &[])).expect("there is room");
    dictionary.define(1, raw(&half, &[])).expect("exactly full");
    assert_eq!(dictionary.bytes(), limits::STREAM_DEFINITION_BYTES_MAX);
    assert_eq!(dictionary.define(2, RawDefinition { unit: b"", ..raw(b"m", &[]) }), Err(DefinitionError::TooLarge));
    assert_eq!(dictionary.define(1, raw(&half, &[])), Ok(false));
}

#[test]
fn a_resolution_lives_until_the_common_tags_change_or_the_series_expires() {
    let mut fixture = Fixture::new(10);
    let place = fixture.define(3, raw(b"m", &[(b"zone", b"z")]));
    let first = fixture.resolve(place, 10).expect("it is valid");
    assert_eq!(first.key.tags().collect::<Vec<_>>(), [("node_id", "node-1"), ("region", "eu"), ("zone", "z")]);
    assert!(Arc::ptr_eq(&first, &fixture.resolve(place, 20).expect("it is valid")));
    assert_eq!(fixture.registry.expire(25, 10, 10), 0, "resolving touches the series");

    assert_eq!(fixture.registry.expire(30, 10, 10), 1);
    let again = fixture.resolve(place, 30).expect("it is admitted anew");
    assert!(!Arc::ptr_eq(&first, &again) && first == again);

    fixture.common.update(&[(b"region", b"us")], b"node-1");
    assert_eq!(fixture.resolve(place, 30).expect("it is valid").key.tag("region"), Some("us"));
    assert_eq!(fixture.registry.len(), 2);
}

#[test]
fn a_crowd_of_tags_is_known_again_in_any_order_and_takes_no_room() {
    const TAG: RawTag<'static> = (b"", b"");
    let mut dictionary = StreamDictionary::new(b"n");
    let crowd = |tags: &mut dyn Iterator<Item = RawTag<'static>>| RawDefinition {
        crowd: Some(Crowd::of(tags, b"n")),
        ..raw(b"m", &[])
    };
    let many = || std::iter::repeat_n(TAG, 1_000_000);
    let first = many().chain([(&b"a"[..], &b"1"[..])]);
    assert_eq!(dictionary.define(1, crowd(&mut first.clone())), Ok(true));
    assert_eq!(dictionary.define(1, crowd(&mut [(&b"a"[..], &b"1"[..])].into_iter().chain(many()))), Ok(false));
    for other in [(&b"a"[..], &b"2"[..]), (b"b", b"1"), (b"1", b"a"), (b"a1", b""), (b"", b"a1"), TAG] {
        let redefined = dictionary.define(1, crowd(&mut many().chain([other])));
        assert_eq!(redefined, Err(DefinitionError::Redefined(1)), "{other:?}");
    }
    assert_eq!(dictionary.define(1, crowd(&mut first.chain([TAG]))), Err(DefinitionError::Redefined(1)));
    assert_eq!(dictionary.bytes(), 5, "the name, the unit, and a tag of two letters");
    assert!(matches!(&dictionary.definitions[0].meaning, Meaning::Sent { form, .. } if form.len() < 64));
    assert!(dictionary.scratch.capacity() <= SCRATCH_BYTES_KEPT);
}

#[test]
fn a_crowd_of_tags_speaks_for_whom_any_of_them_names() {
    let claim = |nodes: &[&'static str]| {
        let tags = nodes.iter().map(|node| (&b"node_id"[..], node.as_bytes()));
        Crowd::of([(&b"k"[..], &b"v"[..])].into_iter().chain(tags).chain([(&b"k"[..], &b"v"[..])]), b"n").claim
    };
    assert_eq!(claim(&[]), NodeClaim::Absent);
    assert_eq!(claim(&["n"]), NodeClaim::Same);
    assert_eq!(claim(&["n", "o"]), NodeClaim::Other);
    assert_eq!(claim(&["o", "n"]), NodeClaim::Other);
}

#[test]
fn a_refusal_for_cardinality_is_tried_again() {
    let mut fixture = Fixture::new(1);
    let (one, other) = (fixture.define(1, raw(b"a", &[])), fixture.define(2, raw(b"b", &[])));
    fixture.resolve(one, 1).expect("there is room");
    assert_eq!(fixture.resolve(other, 1), Err(CardinalityLimit::Collector.into()));
    fixture.registry.expire(100, 10, 10);
    assert!(fixture.resolve(other, 100).is_ok());
}

#[test]
fn marks_of_one_batch_are_forgotten_in_the_next() {
    let mut fixture = Fixture::new(1);
    let place = fixture.define(1, raw(b"a", &[]));
    for batch in [1, 2, u32::MAX] {
        fixture.dictionary.batch = batch;
        fixture.dictionary.begin();
        assert_eq!(fixture.dictionary.index(place), None);
        fixture.dictionary.set_index(place, 9);
        assert_eq!(fixture.dictionary.index(place), Some(9));
    }
    fixture.dictionary.begin();
    assert_eq!(fixture.dictionary.index(place), None);
}

proptest! {
    #[test]
    fn every_id_finds_its_own_definition(ids in prop::collection::hash_set(prop_oneof![0_u32..3_000, any::<u32>()], 0..300)) {
        let mut dictionary = StreamDictionary::new(b"n");
        for &id in &ids {
            dictionary.define(id, raw(id.to_string().as_bytes(), &[])).expect("it is new");
        }
        for &id in &ids {
            let place = dictionary.place(id).expect("it is defined");
            let name = id.to_string();
            prop_assert_eq!(dictionary.name(place), name.as_bytes());
        }
        prop_assert!((0..3_000).filter(|id| dictionary.place(*id).is_some()).all(|id| ids.contains(&id)));
    }
}
