WITH lines AS (
  SELECT n_name AS nation, extract(year FROM o_orderdate) AS o_year, floor(ps_supplycost / 500) * 500 AS cost,
    sum(l_extendedprice * (1 - l_discount)) AS revenue, sum(l_quantity) AS quantity
  FROM part, supplier, lineitem, partsupp, orders, nation
  WHERE s_suppkey = l_suppkey AND ps_suppkey = l_suppkey AND ps_partkey = l_partkey AND p_partkey = l_partkey
    AND o_orderkey = l_orderkey AND o_custkey = l_custkey AND s_nationkey = n_nationkey AND p_name LIKE '%green%'
  GROUP BY ALL)
SELECT nation, o_year, sum(revenue - (cost + 250) * quantity) AS sum_profit
FROM lines
GROUP BY nation, o_year
ORDER BY nation, o_year DESC
