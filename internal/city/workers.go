package city

import (
	"fmt"
	"math"
)

// worker is a domestic worker who is registered with an agency.
type worker struct {
	person      int32
	agency      int
	service     int
	experience  int
	wage        float64 // yuan an hour
	rating      float64
	certificate int
	since       day
	district    int
}

// service is a kind of domestic work, how common it is, and its usual wage in yuan an hour.
type service struct {
	name  string
	share float64
	wage  float64
}

var services = []service{
	{"保洁", 30, 32}, {"钟点工", 24, 30}, {"养老护理", 15, 36}, {"育儿嫂", 12, 48}, {"月嫂", 8, 62}, {"住家保姆", 7, 38}, {"病患陪护", 4, 42},
}

var serviceShares = func() []float64 {
	var shares []float64
	for _, s := range services {
		shares = append(shares, s.share)
	}
	return cumulate(shares...)
}()

var certificates = []string{"有效", "已过期", "无"}
var certificateShares = cumulate(83, 11, 6)

// The two halves of an agency's name.
var (
	agencyFirst  = []rune("安佳康乐喜福瑞和悦诚暖惠润嘉宜馨德美益家")
	agencySecond = []rune("心家洁护帮邻雅园馨居享管众禾优勤阳善合宁")
)

const mostAgencies = 400

func agencyName(i int) string {
	return fmt.Sprintf("澄堰%c%c家政服务有限公司", agencyFirst[i/len(agencySecond)], agencySecond[i%len(agencySecond)])
}

// hire draws the agency, the work and the pay of a person. Pay rises with experience, rating and the district's prices.
func (g *generator) hire(d dice, person int32, age int) worker {
	w := worker{person: person, service: d.pick(serviceShares), district: g.streets[g.people[person].street].district}
	w.agency = min(int(d.ExpFloat64()*float64(g.Agencies)*0.35), g.Agencies-1)
	if d.chance(0.35) {
		w.district = d.IntN(len(g.Districts))
	}
	w.experience = min(age-18, int(d.ExpFloat64()*5.5), 45)
	w.rating = math.Round((4.1+float64(0.03*float64(min(w.experience, 15)))+d.normal(0, 0.4, -2.5, 1))*10) / 10
	w.rating = min(max(w.rating, 1), 5)
	dear := math.Pow(float64(g.Districts[w.district].Price)/10000, 0.22)
	wage := services[w.service].wage * (1 + float64(0.016*float64(min(w.experience, 20)))) * (1 + float64(0.08*(w.rating-4.2))) * dear * d.factor(0.11)
	w.wage = min(max(math.Round(wage*2)/2, 10), 200)
	w.certificate = d.pick(certificateShares)
	w.since = g.AsOf - day(d.IntN(min(w.experience, 9)*365+300))
	return w
}

func (g *generator) writeWorkers() error {
	return g.write("domestic_workers", func(t *table) error {
		for _, w := range g.workers {
			err := t.row(number(residentNumber(w.person)), number(90_000_000+w.agency*37), agencyName(w.agency), services[w.service].name,
				g.Districts[w.district].Name, w.since.String(), decimal(w.wage, 2), number(w.experience), decimal(w.rating, 1),
				certificates[w.certificate])
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// writeDistricts writes what the statistical office publishes anyway.
func (g *generator) writeDistricts() error {
	residents := make([]int, len(g.Districts))
	for _, r := range g.people {
		residents[g.streets[r.street].district]++
	}
	return g.write("districts", func(t *table) error {
		for i, d := range g.Districts {
			err := t.row(d.Name, d.English, number((residents[i]+50)/100*100), decimal(d.AreaKM2, 1), number(d.Price))
			if err != nil {
				return err
			}
		}
		return nil
	})
}
