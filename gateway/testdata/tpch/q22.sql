SELECT c_cntrycode, count(*) AS numcust, sum(c_acctbal) AS totacctbal
FROM customer
WHERE c_cntrycode IN ('13', '31', '23', '29', '30', '18', '17')
  AND c_acctbal > (
    SELECT avg(c_acctbal) FROM customer
    WHERE c_acctbal > 0.00 AND c_cntrycode IN ('13', '31', '23', '29', '30', '18', '17'))
  AND NOT EXISTS (SELECT * FROM orders WHERE o_custkey = c_custkey)
GROUP BY c_cntrycode
ORDER BY c_cntrycode
