BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE api_key (
	name VARCHAR NOT NULL, 
	hash VARCHAR NOT NULL, 
	begins_with VARCHAR NOT NULL, 
	models JSON NOT NULL, 
	admin BOOLEAN NOT NULL, 
	expires_at DATETIME, 
	requests_per_minute INTEGER, 
	tokens_per_minute INTEGER, 
	concurrency INTEGER, 
	profile VARCHAR NOT NULL, 
	created_at DATETIME NOT NULL, 
	last_used_at DATETIME, 
	revoked_at DATETIME, 
	PRIMARY KEY (name), 
	UNIQUE (hash)
);
CREATE TABLE cooldown (
	model_name VARCHAR NOT NULL, 
	failures INTEGER NOT NULL, 
	until DATETIME NOT NULL, 
	PRIMARY KEY (model_name), 
	FOREIGN KEY(model_name) REFERENCES model (name) ON DELETE CASCADE
);
CREATE TABLE event (
	id BIGINT NOT NULL, 
	topic VARCHAR(16) NOT NULL, 
	type VARCHAR(32) NOT NULL, 
	at DATETIME NOT NULL, 
	data JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "event" VALUES(1767323045000,'attempt','finished','2026-01-02 03:04:05.000000','{"id": 1}');
CREATE TABLE load_attempt (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	model_name VARCHAR NOT NULL, 
	backend VARCHAR NOT NULL, 
	load_config JSON NOT NULL, 
	config_hash VARCHAR NOT NULL, 
	hardware VARCHAR NOT NULL, 
	forced BOOLEAN NOT NULL, 
	boot_id VARCHAR NOT NULL, 
	app_pid INTEGER NOT NULL, 
	engine_pid INTEGER, 
	engine_create_time FLOAT, 
	engine_port INTEGER, 
	started_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	load_seconds FLOAT, 
	outcome VARCHAR(16) NOT NULL, 
	status_before VARCHAR(16) NOT NULL, 
	status_after VARCHAR(16), 
	failure_class VARCHAR, 
	cause_kind VARCHAR(16), 
	error VARCHAR, 
	hint VARCHAR, 
	exit_code INTEGER, 
	signal VARCHAR, 
	log_tail VARCHAR NOT NULL, circumstances JSON, 
	FOREIGN KEY(model_name) REFERENCES model (name) ON DELETE CASCADE
);
INSERT INTO "load_attempt" VALUES(1,'old friend','embedded','{"ctx_size": 2048}','0123456789abcdef','CPU',0,'b',7,NULL,NULL,NULL,'2026-01-02 03:04:05.000000','2026-01-02 03:04:05.000000',1.5,'loaded','unknown','compatible',NULL,NULL,NULL,NULL,NULL,NULL,'',NULL);
CREATE TABLE measurement (
	id INTEGER NOT NULL, 
	model_name VARCHAR NOT NULL, 
	backend VARCHAR NOT NULL, 
	architecture VARCHAR, 
	config_hash VARCHAR NOT NULL, 
	n_ctx BIGINT, 
	predicted JSON NOT NULL, 
	measured JSON NOT NULL, 
	predicted_total BIGINT NOT NULL, 
	measured_total BIGINT NOT NULL, 
	at DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE model (
	name VARCHAR NOT NULL, 
	backend VARCHAR NOT NULL, 
	served_name VARCHAR NOT NULL, 
	layer VARCHAR NOT NULL, 
	path VARCHAR, 
	url VARCHAR, 
	hf_path VARCHAR, 
	cache_location VARCHAR, 
	status VARCHAR(16) NOT NULL, 
	notes VARCHAR NOT NULL, 
	load_config JSON NOT NULL, 
	status_hardware VARCHAR, 
	status_config_hash VARCHAR, 
	good_in_a_row INTEGER NOT NULL, 
	total_loads INTEGER NOT NULL, 
	last_loaded DATETIME, 
	last_error VARCHAR, 
	size_bytes BIGINT, 
	architecture VARCHAR, 
	parameter_count BIGINT, 
	quantization VARCHAR, 
	context_length BIGINT, 
	has_chat_template BOOLEAN, 
	capabilities JSON NOT NULL, 
	created_at DATETIME NOT NULL, format VARCHAR, source VARCHAR, family VARCHAR, residents_group VARCHAR, expected_hash VARCHAR, idle_timeout FLOAT, last_verified DATETIME, verified_files JSON, curated JSON DEFAULT '{}' NOT NULL, discovered JSON DEFAULT '{}' NOT NULL, aliases JSON DEFAULT '[]' NOT NULL, roles JSON DEFAULT '[]' NOT NULL, pinned BOOLEAN DEFAULT 0 NOT NULL, installed BOOLEAN DEFAULT 1 NOT NULL, deprecated BOOLEAN DEFAULT 0 NOT NULL, locked BOOLEAN DEFAULT 0 NOT NULL, client_policy JSON DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "model" VALUES('old friend','embedded','friend','curated','/models/friend.gguf',NULL,NULL,NULL,'degraded','zwölf
Zeilen','{"ctx_size": 2048}','CPU','0123456789abcdef',1,4,'2026-01-02 03:04:05.000000',NULL,5000000000,NULL,7000000000,NULL,NULL,NULL,'["chat"]','2026-01-02 03:04:05.000000','gguf',NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"backend": "embedded", "served_name": "friend", "path": "/models/friend.gguf", "load_config": {"ctx_size": 2048}}','{"size_bytes": 5000000000, "parameter_count": 7000000000, "capabilities": ["chat"], "format": "gguf"}','[]','[]',0,1,0,0,'{}');
CREATE TABLE server (
	name VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	url VARCHAR NOT NULL, 
	owner_kind VARCHAR NOT NULL, 
	owner_name VARCHAR, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (name), 
	UNIQUE (url)
);
CREATE TABLE setting (
	"key" VARCHAR NOT NULL, 
	value JSON NOT NULL, 
	changed_at DATETIME NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "setting" VALUES('window','{"width": 900}','2026-01-02 03:04:05.000000');
CREATE INDEX ix_model_status ON model (status);
CREATE INDEX ix_load_attempt_model_name ON load_attempt (model_name);
CREATE INDEX ix_load_attempt_outcome ON load_attempt (outcome);
CREATE INDEX ix_measurement_model_name ON measurement (model_name);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('load_attempt',1);
COMMIT;
