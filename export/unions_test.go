package export

// unions are rows of several data sets, one after the other, and people in bands that are proved not to overlap.
func (w *world) unions() []source {
	both := source{sql: "(SELECT pid AS who, city AS place, 'p' AS side, pay AS x, hours + 1 AS y FROM people UNION ALL SELECT rider, line, 't', stops, delay FROM trips)",
		keys: []string{"who"}, cats: []string{"place", "side"}, nums: []string{"x", "y"}}
	all := source{sql: "(SELECT * FROM (SELECT pid AS who, sex AS place, hours AS x FROM people UNION ALL SELECT rider, line, 2 * delay FROM trips) UNION ALL SELECT patient, kind, cost FROM events)",
		keys: []string{"who"}, cats: []string{"place"}, nums: []string{"x"}}
	banded := source{sql: "people JOIN (VALUES (0, 29, 'young'), (30, 44, 'middle'), (60, 120, 'old')) b(low, high, band) ON age BETWEEN low AND high",
		keys: []string{"pid"}, single: true, cats: []string{"band", "sex", "city"}, nums: []string{"hours", "pay"}}
	for _, p := range w.rows["people"] {
		both.rows = append(both.rows, record{"who": p["pid"], "place": p["city"], "side": "p", "x": p["pay"], "y": p["hours"].(float64) + 1})
		all.rows = append(all.rows, record{"who": p["pid"], "place": p["sex"], "x": p["hours"]})
		switch age := p["age"].(float64); {
		case age < 30:
			banded.rows = append(banded.rows, merged(p, record{"band": "young"}))
		case age < 45:
			banded.rows = append(banded.rows, merged(p, record{"band": "middle"}))
		case age >= 60:
			banded.rows = append(banded.rows, merged(p, record{"band": "old"}))
		}
	}
	for _, p := range w.rows["trips"] {
		both.rows = append(both.rows, record{"who": p["rider"], "place": p["line"], "side": "t", "x": p["stops"], "y": p["delay"]})
		var twice any
		if delay, known := p["delay"].(float64); known {
			twice = 2 * delay
		}
		all.rows = append(all.rows, record{"who": p["rider"], "place": p["line"], "x": twice})
	}
	for _, p := range w.rows["events"] {
		all.rows = append(all.rows, record{"who": p["patient"], "place": p["kind"], "x": p["cost"]})
	}
	return []source{both, all, banded}
}
