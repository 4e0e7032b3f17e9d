package gateway_test

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A small generator of data shaped like those of TPC-H (TPC Benchmark H, revision 3, clause 4.2.3): the same tables,
// keys, domains and dependences, at a scale of 0.01, and the same for every run. Parts of the brands and containers
// that the queries ask for are more frequent, so that at this scale there are customers behind the answers.

const (
	tpchCustomers = 1500
	tpchOrders    = 15000
	tpchParts     = 2000
	tpchSuppliers = 100
)

var (
	tpchNations = strings.Fields("ALGERIA:0 ARGENTINA:1 BRAZIL:1 CANADA:1 EGYPT:4 ETHIOPIA:0 FRANCE:3 GERMANY:3 INDIA:2 INDONESIA:2 IRAN:4 IRAQ:4 JAPAN:2 JORDAN:4 " +
		"KENYA:0 MOROCCO:0 MOZAMBIQUE:0 PERU:1 CHINA:2 ROMANIA:3 SAUDI_ARABIA:4 VIETNAM:2 RUSSIA:3 UNITED_KINGDOM:3 UNITED_STATES:1")
	// the nations in which there are customers and suppliers, so that at this scale each has enough
	tpchInhabited  = []int{2, 3, 6, 7, 8, 9, 13, 18, 19, 20}
	tpchRegions    = []string{"AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"}
	tpchSegments   = []string{"AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"}
	tpchPriorities = []string{"1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"}
	tpchInstructs  = []string{"DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"}
	tpchModes      = []string{"REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB", "AIR REG"}
	tpchColours    = []string{"almond", "azure", "blush", "coral", "forest", "ghost", "green", "ivory", "linen", "navy", "olive", "puff"}
	tpchCurrent    = date(1995, 6, 17)
)

func date(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// tpch writes tables as CSV.
type tpch struct {
	t   testing.TB
	dir string
	r   *rand.Rand
}

// tpchFolder makes a folder with the data and the manifests, and gives the manifests.
func tpchFolder(t testing.TB) []string {
	t.Helper()
	g := &tpch{t: t, dir: t.TempDir(), r: rand.New(rand.NewPCG(19, 92))}
	g.open()
	g.parts()
	g.customers()
	g.orders()
	var manifests []string
	for _, name := range []string{"customer", "orders", "lineitem", "part", "supplier", "partsupp", "nation", "region"} {
		text, err := os.ReadFile(filepath.Join("testdata", "tpch", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(g.dir, name+".yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		manifests = append(manifests, path)
	}
	return manifests
}

// table writes one table; fill gives each row to add.
func (g *tpch) table(name, header string, fill func(add func(values ...any))) {
	g.t.Helper()
	f, err := os.Create(filepath.Join(g.dir, name+".csv"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer f.Close()
	w := csv.NewWriter(f)
	w.Write(strings.Split(header, ","))
	fill(func(values ...any) {
		record := make([]string, len(values))
		for i, v := range values {
			switch v := v.(type) {
			case time.Time:
				record[i] = v.Format(time.DateOnly)
			case cents:
				record[i] = v.String()
			default:
				record[i] = fmt.Sprint(v)
			}
		}
		w.Write(record)
	})
	if w.Flush(); w.Error() != nil {
		g.t.Fatal(w.Error())
	}
}

// cents is an amount in hundredths.
type cents int

func (c cents) String() string { return strconv.FormatFloat(float64(c)/100, 'f', 2, 64) }

func (g *tpch) one(of []string) string { return of[g.r.IntN(len(of))] }

// between draws a whole number from both bounds and between.
func (g *tpch) between(low, high int) int { return low + g.r.IntN(high-low+1) }

func (g *tpch) open() {
	g.table("region", "r_regionkey,r_name,r_comment", func(add func(...any)) {
		for i, name := range tpchRegions {
			add(i, name, "a region")
		}
	})
	g.table("nation", "n_nationkey,n_name,n_regionkey,n_comment", func(add func(...any)) {
		for i, nation := range tpchNations {
			name, region, _ := strings.Cut(nation, ":")
			add(i, strings.ReplaceAll(name, "_", " "), region, "a nation")
		}
	})
	g.table("supplier", "s_suppkey,s_name,s_address,s_nationkey,s_phone,s_acctbal,s_comment", func(add func(...any)) {
		for i := 1; i <= tpchSuppliers; i++ {
			comment := "fluffy deposits"
			if i%20 == 7 {
				comment = "Customer even Complaints"
			}
			nation := tpchInhabited[i%len(tpchInhabited)]
			add(i, fmt.Sprintf("Supplier#%09d", i), fmt.Sprintf("street %d", i), nation, fmt.Sprintf("%d-555-%04d", nation+10, i), cents(g.between(-99999, 999999)), comment)
		}
	})
}

// supplierOf is the i-th of the four suppliers of a part, as the specification spreads them.
func supplierOf(part, i int) int {
	return (part+i*(tpchSuppliers/4+(part-1)/tpchSuppliers))%tpchSuppliers + 1
}

func retailPrice(part int) cents { return cents(90000 + part/10%20001 + 100*(part%1000)) }

func (g *tpch) parts() {
	containers := []string{"CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"}
	g.table("part", "p_partkey,p_name,p_mfgr,p_brand,p_type,p_size,p_container,p_retailprice,p_comment", func(add func(...any)) {
		for i := 1; i <= tpchParts; i++ {
			maker := g.between(1, 5)
			brand := fmt.Sprintf("Brand#%d%d", maker, g.between(1, 5))
			container := g.one([]string{"SM", "LG", "MED", "JUMBO", "WRAP"}) + " " + g.one(containers)
			kind := g.one([]string{"STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"}) + " " +
				g.one([]string{"ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"}) + " " + g.one([]string{"TIN", "NICKEL", "BRASS", "STEEL", "COPPER"})
			size := g.between(1, 50)
			switch i % 20 {
			case 0:
				brand, container, size = "Brand#23", "MED BOX", g.between(1, 10)
			case 1:
				brand, container, size = "Brand#12", "SM CASE", g.between(1, 5)
			case 2, 3, 4:
				kind = "ECONOMY ANODIZED STEEL"
			}
			add(i, g.one(tpchColours)+" "+g.one(tpchColours), fmt.Sprintf("Manufacturer#%d", maker), brand, kind, size, container, retailPrice(i), "a part")
		}
	})
	g.table("partsupp", "ps_partkey,ps_suppkey,ps_availqty,ps_supplycost,ps_comment", func(add func(...any)) {
		for part := 1; part <= tpchParts; part++ {
			for i := range 4 {
				add(part, supplierOf(part, i), g.between(1, 9999), cents(g.between(100, 100000)), "a supply")
			}
		}
	})
}

func (g *tpch) customers() {
	g.table("customer", "c_custkey,c_name,c_address,c_nationkey,c_phone,c_cntrycode,c_acctbal,c_mktsegment,c_comment", func(add func(...any)) {
		for i := 1; i <= tpchCustomers; i++ {
			nation := tpchInhabited[g.r.IntN(len(tpchInhabited))]
			code := strconv.Itoa(nation + 10)
			add(i, fmt.Sprintf("Customer#%09d", i), fmt.Sprintf("lane %d", i), nation, fmt.Sprintf("%s-555-%04d", code, i), code,
				cents(g.between(-99999, 999999)), g.one(tpchSegments), "a customer")
		}
	})
}

// line is a row of lineitem that its order waits for.
type line []any

// orders writes orders and their lines. A third of the customers order nothing.
func (g *tpch) orders() {
	const header = "l_custkey,l_orderkey,l_partkey,l_suppkey,l_linenumber,l_quantity,l_extendedprice,l_discount,l_tax,l_returnflag,l_linestatus," +
		"l_shipdate,l_commitdate,l_receiptdate,l_shipinstruct,l_shipmode,l_comment"
	var lines []line
	g.table("orders", "o_orderkey,o_custkey,o_orderstatus,o_totalprice,o_orderdate,o_orderpriority,o_clerk,o_shippriority,o_comment", func(add func(...any)) {
		for i := 1; i <= tpchOrders; i++ {
			customer := g.between(1, tpchCustomers)
			for customer%3 == 0 {
				customer = g.between(1, tpchCustomers)
			}
			ordered := date(1992, 1, 1).AddDate(0, 0, g.r.IntN(2405))
			of, total, status := g.lines(i, customer, ordered)
			lines = append(lines, of...)
			comment := "carefully ironic packages"
			if g.r.IntN(50) == 0 {
				comment = "special pending requests"
			}
			add(i, customer, status, total, ordered, g.one(tpchPriorities), fmt.Sprintf("Clerk#%09d", g.between(1, 10)), 0, comment)
		}
	})
	g.table("lineitem", header, func(add func(...any)) {
		for _, l := range lines {
			add(l...)
		}
	})
}

func (g *tpch) lines(order, customer int, ordered time.Time) (lines []line, total cents, status string) {
	open := 0
	for number := 1; number <= g.between(1, 7); number++ {
		part := g.between(1, tpchParts)
		quantity, discount, tax := g.between(1, 50), g.between(0, 10), g.between(0, 8)
		price := retailPrice(part) * cents(quantity)
		shipped := ordered.AddDate(0, 0, g.between(1, 121))
		committed, received := ordered.AddDate(0, 0, g.between(30, 90)), shipped.AddDate(0, 0, g.between(1, 30))
		flag, state := "N", "F"
		if !received.After(tpchCurrent) {
			flag = g.one([]string{"R", "A"})
		}
		if shipped.After(tpchCurrent) {
			state = "O"
			open++
		}
		total += price * cents(100+tax) * cents(100-discount) / 10000
		lines = append(lines, line{customer, order, part, supplierOf(part, g.r.IntN(4)), number, cents(100 * quantity), price, cents(discount), cents(tax), flag, state,
			shipped, committed, received, g.one(tpchInstructs), g.one(tpchModes), "a line"})
	}
	switch open {
	case 0:
		status = "F"
	case len(lines):
		status = "O"
	default:
		status = "P"
	}
	return lines, total, status
}
