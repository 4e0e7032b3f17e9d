-- +goose Up
CREATE TABLE other (id BIGINT PRIMARY KEY);
