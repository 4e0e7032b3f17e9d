package api

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"weir/internal/problem"
)

// maxFaults is how many faults of a request are told at once.
const maxFaults = 8

// fault is one thing that is wrong with a request, in both languages.
type fault struct{ where, english, chinese string }

// invalidRequest says what is wrong with a request: each field by its name, what is allowed in it, and the nearest of
// what is allowed. What was sent is not repeated, but for the names of fields that nobody knows.
func invalidRequest(err error) *problem.Problem {
	var faults []fault
	for _, one := range eachOf(err) {
		faults = append(faults, faultsOf(one)...)
	}
	if len(faults) == 0 {
		faults = []fault{{where(err.Error()), "not as specified", "不符合规范"}}
	}
	more := len(faults) - maxFaults
	english, chinese := make([]string, 0, maxFaults), make([]string, 0, maxFaults)
	for _, f := range faults[:min(len(faults), maxFaults)] {
		english = append(english, f.where+": "+f.english)
		chinese = append(chinese, f.where+"："+f.chinese)
	}
	if more > 0 {
		english = append(english, fmt.Sprintf("and %d more", more))
		chinese = append(chinese, fmt.Sprintf("另有 %d 处", more))
	}
	return problem.New("api.request-invalid").Say("faults", strings.Join(english, "; "), strings.Join(chinese, "；")).Because(err)
}

// eachOf takes an error of several apart.
func eachOf(err error) []error {
	var several openapi3.MultiError
	if !errors.As(err, &several) {
		return []error{err}
	}
	var all []error
	for _, one := range several {
		all = append(all, one)
	}
	return all
}

// faultsOf are the faults that an error of the validator tells of.
func faultsOf(err error) []fault {
	var request *openapi3filter.RequestError
	if !errors.As(err, &request) {
		return nil
	}
	place := "body"
	if p := request.Parameter; p != nil {
		place = p.In + " " + p.Name
	}
	if request.Err == nil {
		return []fault{{place, "not as specified", "不符合规范"}}
	}
	var faults []fault
	for _, one := range eachOf(request.Err) {
		var wrong *openapi3.SchemaError
		switch {
		case errors.As(one, &wrong):
			faults = append(faults, faultOf(place, wrong))
		case errors.Is(one, openapi3filter.ErrInvalidRequired), errors.Is(one, openapi3filter.ErrInvalidEmptyValue):
			faults = append(faults, fault{place, "is missing", "缺少"})
		case request.Parameter != nil:
			faults = append(faults, fault{place, "is of another type", "类型不对"})
		default:
			faults = append(faults, fault{place, "not as specified", "不符合规范"})
		}
	}
	return faults
}

var unsupported = regexp.MustCompile(`property "([A-Za-z0-9_]{1,40})" is (missing|unsupported)`)

// faultOf is a fault of one value.
func faultOf(place string, wrong *openapi3.SchemaError) fault {
	name := fieldName(wrong.JSONPointer())
	if name == "" || strings.Contains(place, " ") {
		name = place
	}
	s := wrong.Schema
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	switch wrong.SchemaField {
	case "required":
		return fault{name, "is missing", "缺少"}
	case "enum":
		allowed := make([]string, 0, len(s.Enum))
		for _, v := range s.Enum {
			allowed = append(allowed, fmt.Sprint(v))
		}
		english, chinese := "must be one of "+strings.Join(allowed, ", "), "只能是 "+strings.Join(allowed, "、")+" 之一"
		if meant := nearest(wrong.Value, allowed); meant != "" {
			english, chinese = english+" (did you mean "+meant+"?)", chinese+"（是否想写 "+meant+"？）"
		}
		return fault{name, english, chinese}
	case "properties", "additionalProperties":
		found := unsupported.FindStringSubmatch(wrong.Reason)
		if found == nil {
			return fault{name, "holds a field that is not known", "含有未知字段"}
		}
		field := found[1]
		if parent := fieldName(wrong.JSONPointer()); parent != "" && parent != field && !strings.HasSuffix(parent, "."+field) {
			field = parent + "." + field
		}
		english, chinese := "is not known", "没有该字段"
		known := make([]string, 0, len(s.Properties))
		for property := range s.Properties {
			known = append(known, property)
		}
		slices.Sort(known)
		if meant := nearest(found[1], known); meant != "" {
			english, chinese = english+" (did you mean "+meant+"?)", chinese+"（是否想写 "+meant+"？）"
		}
		return fault{field, english, chinese}
	case "type":
		kind := strings.Join(s.Type.Slice(), ", ")
		return fault{name, "must be of type " + kind, "类型应为 " + kind}
	case "minimum", "exclusiveMinimum":
		return fault{name, fmt.Sprintf("must be at least %v", *s.Min), fmt.Sprintf("不得小于 %v", *s.Min)}
	case "maximum", "exclusiveMaximum":
		return fault{name, fmt.Sprintf("must be at most %v", *s.Max), fmt.Sprintf("不得大于 %v", *s.Max)}
	case "minLength":
		return fault{name, "must have at least " + number(s.MinLength) + " characters", "至少 " + number(s.MinLength) + " 个字符"}
	case "maxLength":
		return fault{name, "must have at most " + number(*s.MaxLength) + " characters", "至多 " + number(*s.MaxLength) + " 个字符"}
	case "minItems":
		return fault{name, "must have at least " + number(s.MinItems) + " items", "至少 " + number(s.MinItems) + " 项"}
	case "maxItems":
		return fault{name, "must have at most " + number(*s.MaxItems) + " items", "至多 " + number(*s.MaxItems) + " 项"}
	case "uniqueItems":
		return fault{name, "must not hold anything twice", "各项不得重复"}
	case "pattern":
		return fault{name, "must be of the form " + s.Pattern, "须符合格式 " + s.Pattern}
	case "format":
		form := s.Format
		if example, known := forms[form]; known {
			form += ", such as " + example
			return fault{name, "must be a " + form, "须为 " + s.Format + "，例如 " + example}
		}
		return fault{name, "must be a " + form, "须为 " + form}
	}
	return fault{name, "not as specified", "不符合规范"}
}

// forms are examples of what a format means.
var forms = map[string]string{"date-time": "2027-06-30T23:59:59+08:00", "date": "2027-06-30"}

// fieldName is the name of a field in a body: quota.jobs_per_day, and roles (1) for the first of a list. Anything but
// letters, digits and underscores in it is somebody's invention and not repeated.
func fieldName(pointer []string) string {
	var name strings.Builder
	for _, part := range pointer {
		if n, err := strconv.Atoi(part); err == nil {
			fmt.Fprintf(&name, " (%d)", n+1)
			continue
		}
		if !plainField.MatchString(part) {
			part = "?"
		}
		if name.Len() > 0 {
			name.WriteByte('.')
		}
		name.WriteString(part)
	}
	return name.String()
}

var plainField = regexp.MustCompile(`^[A-Za-z0-9_]{1,40}$`)

// nearest is what of the allowed was probably meant, nothing where none is near.
func nearest(given any, allowed []string) string {
	text, ok := given.(string)
	if !ok || utf8.RuneCountInString(text) > 40 {
		return ""
	}
	best, least := "", max(2, utf8.RuneCountInString(text)/3)+1
	for _, a := range allowed {
		if d := levenshtein.ComputeDistance(strings.ToLower(text), strings.ToLower(a)); d < least {
			best, least = a, d
		}
	}
	return best
}
