package sandbox

import "testing"

func TestNormalizeType(t *testing.T) {
	cases := map[string]string{
		"int": "INTEGER", "Integer": "INTEGER", "BIGINT": "BIGINT", "smallint": "SMALLINT", "hugeint": "HUGEINT",
		"text": "VARCHAR", "String": "VARCHAR", "varchar": "VARCHAR", "varchar(20)": "VARCHAR", "CHAR (18)": "VARCHAR",
		"character varying(7)": "VARCHAR", "double": "DOUBLE", "double  precision": "DOUBLE", "float": "FLOAT",
		"real": "FLOAT", "number": "DOUBLE", "decimal": "DECIMAL(18,3)", "Decimal( 12 , 2 )": "DECIMAL(12,2)",
		"numeric(5)": "DECIMAL(5,0)", "decimal(38,38)": "DECIMAL(38,38)", "date": "DATE", "timestamp": "TIMESTAMP",
		"datetime": "TIMESTAMP", "bool": "BOOLEAN", "BOOLEAN": "BOOLEAN",
	}
	for written, want := range cases {
		if got, err := NormalizeType(written); err != nil || got != want {
			t.Errorf("%q became %q, %v", written, got, err)
		}
		// What the catalogue holds is read again by the planner.
		if got, err := NormalizeType(want); err != nil || got != want {
			t.Errorf("%q became %q, %v", want, got, err)
		}
	}
	for _, written := range []string{
		"", "blob", "json", "int[]", "struct(a int)", "int(3)", "date(3)", "varchar(1,2)", "decimal(0)", "decimal(39)",
		"decimal(3,4)", "decimal()", "int; DROP TABLE x", "INTEGER DEFAULT 1", `"int"`, "enum('a')", "double double",
	} {
		if got, err := NormalizeType(written); err == nil {
			t.Errorf("%q became %q", written, got)
		}
	}
}
