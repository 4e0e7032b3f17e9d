package city

// The levels of education, in rising order.
const (
	preschool = iota
	primary
	middle
	high
	vocational
	college
	bachelor
	graduate
)

var educations = []string{"学龄前", "小学及以下", "初中", "高中", "中专", "大专", "本科", "研究生"}

// schoolingBefore gives, for people born before a year, the shares of the levels from primary to graduate.
var schoolingBefore = []struct {
	year   int
	shares []float64
}{
	{1956, cumulate(45, 35, 12, 4, 3, 1, 0.1)},
	{1971, cumulate(22, 42, 20, 7, 6, 3, 0.3)},
	{1986, cumulate(6, 34, 19, 13, 16, 11, 1.5)},
	{9999, cumulate(1, 16, 14, 14, 24, 28, 4)},
}

// earningPower is what a level of education makes of an occupation's income.
var earningPower = []float64{0, 0.80, 0.88, 0.97, 1.00, 1.10, 1.28, 1.62}

// occupation is a kind of work: how common it is after primary or middle school, after high or vocational school, and
// after more, and its median income in yuan a year.
type occupation struct {
	name              string
	low, middle, high float64
	median            float64
}

var occupations = []occupation{
	{"制造业工人", 22, 18, 4, 62000},
	{"建筑工人", 16, 6, 0.5, 66000},
	{"农业劳动者", 14, 4, 0.5, 36000},
	{"销售人员", 10, 14, 9, 64000},
	{"餐饮服务员", 10, 7, 1, 48000},
	{"货运司机", 9, 7, 0.7, 78000},
	{"个体经营者", 9, 11, 6, 90000},
	{"保安", 4, 3, 0.3, 46000},
	{"办公室职员", 1, 12, 20, 72000},
	{"会计", 0, 3, 7, 84000},
	{"教师", 0, 1, 10, 92000},
	{"护士", 0, 3, 5, 86000},
	{"医生", 0, 0, 4, 148000},
	{"软件工程师", 0, 0.5, 9, 168000},
	{"工程师", 0, 2, 9, 122000},
	{"公务员", 0, 1, 7, 98000},
	{"金融从业人员", 0, 1, 5, 138000},
	{"律师", 0, 0, 1, 160000},
	{"待业", 6, 5, 4, 12000},
}

// What a person does who does none of the above. The numbers follow those of the occupations.
const (
	ordinaryOccupations = 19
	domestic            = ordinaryOccupations + iota - 1
	rare
	retired
	student
	infant
)

var otherOccupations = map[uint8]string{domestic: "家政服务员", retired: "退休", student: "学生", infant: "学龄前"}

var occupationsAfter = func() [3][]float64 {
	var low, middle, high []float64
	for _, o := range occupations {
		low, middle, high = append(low, o.low), append(middle, o.middle), append(high, o.high)
	}
	return [3][]float64{cumulate(low...), cumulate(middle...), cumulate(high...)}
}()

// occupationName is how an occupation is written.
func (g *generator) occupationName(o uint8) string {
	switch {
	case o < ordinaryOccupations:
		return occupations[o].name
	case o == rare:
		return g.Stories.RareOccupation.Name
	default:
		return otherOccupations[o]
	}
}

// schooling is the highest level of education reached, or being reached by a pupil.
func (h *household) schooling(born, age int) uint8 {
	switch {
	case age < 6:
		return preschool
	case age < 12:
		return primary
	case age < 15:
		return middle
	case age < 18:
		return uint8(high + h.pick(cumulate(60, 40)))
	}
	for _, cohort := range schoolingBefore {
		if born < cohort.year {
			level := primary + h.pick(cohort.shares)
			if level == graduate && age < 25 {
				level = bachelor
			}
			return uint8(level)
		}
	}
	return primary
}

// work is what a person of that age, sex and education does. The ages of retirement are those before 2025.
func (h *household) work(age int, female bool, education uint8) uint8 {
	pension := 60
	if female {
		pension = 55
	}
	switch {
	case age < 6:
		return infant
	case age < 18, age < 22 && education >= college, age < 25 && education == graduate:
		return student
	case age >= pension && h.chance(0.93):
		return retired
	case education >= college:
		return uint8(h.pick(occupationsAfter[2]))
	case education >= high:
		return uint8(h.pick(occupationsAfter[1]))
	default:
		return uint8(h.pick(occupationsAfter[0]))
	}
}

// mostIncome is the upper bound that the manifest declares.
const mostIncome = 3_000_000

// earn is a yearly income in hundreds of yuan: rising with education and, until fifty, with age.
func (h *household) earn(age int, r resident) int32 {
	var income float64
	switch {
	case r.occupation == retired:
		income = float64(33000*earningPower[r.education]) * h.factor(0.25)
	case r.occupation < ordinaryOccupations:
		experience := min(float64(age-18)/32, 1)
		income = occupations[r.occupation].median * earningPower[r.education] * (0.72 + float64(0.5*experience)) * h.factor(0.34)
	}
	return int32(min(income, mostIncome)) / 100 * 100
}
