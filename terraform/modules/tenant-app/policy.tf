# What the tenant app calls: credentials of its own region's tenants. Every ARN names this region, as AWS calls it
# and as the fleet does: a role of one region is refused in every other. Names and tags are those of
# platform/aws/names.ts; test/unit/aws-rights.test.ts holds both against each other.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  partition  = data.aws_partition.this.partition
  aws_region = data.aws_region.this.region
  place      = "${local.aws_region}:${data.aws_caller_identity.this.account_id}"
  # Of tenants only: what opens a server as its administrator is none of the app's business.
  secret_arns = ["arn:${local.partition}:secretsmanager:${local.place}:secret:${var.fleet_name}/${var.region}/tenant-*"]
  any_key     = ["arn:${local.partition}:kms:${local.place}:key/*"]
}

data "aws_iam_policy_document" "task" {
  statement {
    sid       = "ReadCredentials"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = local.secret_arns
    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [local.aws_region]
    }
  }
}
