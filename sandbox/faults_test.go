package sandbox

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"weir/internal/problem"
)

// All faults of a file are told at once: of each kind in each column the first place, and how often it is there.
func TestAllFaultsAtOnce(t *testing.T) {
	v := vault(t)
	c := intakeCase{Content: "id,n,s\na,1,x\nb,Geheim,x\nc,60000,x\n,1,x\nd,Geheim\ne,Geheim,Geheim¿\n1.1E+9,-1,x\n合计,5,\n"}
	_, err := v.Intake(t.Context(), c.write(t, t.TempDir()))
	want := []string{
		`row 2, the column "n" holds no INTEGER.`,
		`row 3, the column "n"`, "(× 2)",
		`row 4, the unit key "id" is empty`,
		"row 5 (line 6) has another number of fields",
		`row 6, the column "s" holds bytes`,
		`row 7, the column "id" holds a number as 1.1E+17`,
		"row 8, looks like totals",
	}
	for _, lang := range []problem.Lang{problem.English, problem.Chinese} {
		detail := problem.Of(err).In(lang).Detail
		if got := strings.Count(detail, "\n- "); problem.Of(err).Code != "intake.faults" || got != 7 || strings.Contains(detail, "Geheim") {
			t.Fatalf("%d faults in %s", got, detail)
		}
		if lang == problem.Chinese {
			continue
		}
		for _, words := range want {
			if !strings.Contains(detail, words) {
				t.Errorf("not told: %s\n%s", words, detail)
			}
		}
	}
}

// A page that is not what its checksum says is refused, wherever in the file, and one that is whole is taken in.
func TestParquetChecksum(t *testing.T) {
	type row struct {
		ID string `parquet:"id"`
		N  int32  `parquet:"n"`
		S  string `parquet:"s"`
	}
	var file bytes.Buffer
	if err := parquet.Write(&file, []row{{"a", 1, "Geheimnis"}, {"b", 2, "xxxxxxxxx"}}); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	// In front of the page, its header has the least and greatest value.
	header := bytes.Index(whole, []byte("Geheimnisxxxxxxxxx"))
	if header < 0 {
		header = bytes.Index(whole, []byte("Geheimnis\x09\x00\x00\x00xxxxxxxxx"))
	}
	if header < 0 {
		t.Fatal("the values are not in the page as they are")
	}
	damaged := bytes.Clone(whole)
	damaged[header]++
	for _, c := range []struct {
		name    string
		content []byte
		code    string
	}{{"whole", whole, ""}, {"damaged", damaged, "intake.checksum"}} {
		v, dir := vault(t), t.TempDir()
		manifest := intakeCase{Format: "parquet"}.write(t, dir)
		if err := os.WriteFile(filepath.Join(dir, "data.parquet"), c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := v.Intake(t.Context(), manifest)
		if got := problem.Of(err).Code; err == nil && c.code != "" || err != nil && got != c.code {
			t.Errorf("%s: %s", c.name, cause(err))
		}
	}
}
