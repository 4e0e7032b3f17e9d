SELECT count(DISTINCT o_custkey) AS customers, count(*) AS orders, sum(o_totalprice) AS price
FROM orders SEMI JOIN (
  SELECT l_custkey, l_orderkey FROM lineitem GROUP BY l_custkey, l_orderkey HAVING sum(l_quantity) > 200
) ON o_custkey = l_custkey AND o_orderkey = l_orderkey
